"""What all measurements share: the machine they were made on, a process of its own for each, tables printed and kept

A script measures, puts its figures into tables and says in sentences what follows from them; `save` prints both and,
where it is given a path, writes them with the machine and the command. `speed.py` makes `reports/speed.md` of them.
"""

import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = 'hrft', 'torch', 'fastai', 'numpy', 'pandas', 'pyarrow'
_BEGAN, _LOAD = time.perf_counter(), os.getloadavg()[0]


def machine(*libraries: str) -> dict[str, Any]:
    "Processor, memory, load before and after, versions (`libraries` beside the usual ones) and date"
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
    names = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    return {
        'processor': names[0] if names else platform.processor() or platform.machine(),
        'cores': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
        'memory_gb': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9),
        'gpu': _gpu(),
        'load': [round(_LOAD, 1), round(os.getloadavg()[0], 1)],  # processes that wanted a core, before and after
        'system': f'{platform.system()} {platform.machine()}',
        'versions': {'python': platform.python_version()} | _versions([*LIBRARIES, *libraries]),
        'date': time.strftime('%Y-%m-%d'),
        'took_s': round(time.perf_counter() - _BEGAN),
    }


def _gpu():
    torch = sys.modules.get('torch')  # only where the script has used it
    return torch.cuda.get_device_name(0) if torch and torch.cuda.is_available() else ''


def _versions(libraries):
    found = {}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def command() -> str:
    "The command that started this script, as it would be typed in the project's folder"
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(ROOT) if script.is_relative_to(ROOT) else Path(script.name)
    return shlex.join(['python', str(name), *sys.argv[1:]])


def text(value: Any) -> str:
    "A value of a table as it is printed: three digits, or all of a whole number"
    if value is None:
        return ''
    if isinstance(value, float):
        return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'
    return f'{value:,}' if isinstance(value, int) and not isinstance(value, bool) else str(value)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    "Rows as a Markdown table; numbers to the right"
    columns = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {name: all(isinstance(row.get(name), (int, float, type(None))) for row in rows) for name in columns}
    lines = [columns, ['--:' if numeric[name] else ':--' for name in columns]]
    lines += [[text(row.get(name)) for name in columns] for row in rows]
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in lines)


def save(
    path: str | Path | None,  # a JSON file to write; None only prints
    tables: Mapping[str, Sequence[Mapping[str, Any]]],  # title -> rows, each column with its unit -> value
    sentences: Sequence[str] = (),  # what follows from the figures, made from them
    libraries: Sequence[str] = (),  # whose versions matter, beside the usual ones
) -> None:
    "Print tables and sentences, and keep them with machine, versions, date and command"
    for title, rows in tables.items():
        print(f'\n{title}\n\n{markdown(rows)}')
    print('', *sentences, sep='\n')
    if path:
        kept = {'command': command(), 'machine': machine(*libraries), 'tables': tables, 'sentences': list(sentences)}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(kept, indent=1) + '\n', encoding='utf-8')


class Ran(NamedTuple):
    "What a process took"

    seconds: float  # by the clock
    cpu_s: float  # of the process and those that it waited for
    peak_mb: float  # of the largest one of them
    printed: str  # on its standard output


def ran(arguments: Sequence[str | Path], **environment: str) -> Ran:
    "Run a command in a fresh process with one thread, and measure it; its standard error is shown where it fails"
    wrapped = [sys.executable, __file__, *map(str, arguments)]
    threads = {'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    done = subprocess.run(wrapped, capture_output=True, text=True, env=os.environ | threads | environment)
    if done.returncode:
        raise RuntimeError(f'{shlex.join(map(str, arguments))} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}')
    measured = json.loads(done.stderr.splitlines()[-1])
    return Ran(*measured, done.stdout)


def _measure(arguments):
    "The process between: it has no other child, so its children's usage is the command's"
    start = time.perf_counter()
    code = subprocess.run(arguments).returncode
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak_mb = usage.ru_maxrss / (1e6 if sys.platform == 'darwin' else 1e3) * (1 if sys.platform == 'darwin' else 1.024)
    print(f'\n{json.dumps([time.perf_counter() - start, usage.ru_utime + usage.ru_stime, peak_mb])}', file=sys.stderr)
    return code


def spread(values: Sequence[float]) -> str:
    "The median and the range of repeats"
    return f'{text(float(statistics.median(values)))} ({text(float(min(values)))} to {text(float(max(values)))})'


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    "Repeat by repeat, as they were measured side by side"
    return [a / b for a, b in zip(over, under, strict=True)]


if __name__ == '__main__':
    sys.exit(_measure(sys.argv[1:]))

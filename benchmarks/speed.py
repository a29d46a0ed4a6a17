"""The page of what hrft costs: measure, and render `reports/speed.md` from what was measured

    python benchmarks/speed.py                                   # render what lies in reports/speed_files
    python benchmarks/speed.py --measure [--fast] [NAME ...]     # measure first, one script after the other

`make benchmarks` measures everything, `make benchmarks FAST=1` what takes some minutes. Each script writes its figures
as JSON (`report.save`); this one adds nothing to them but headings, and says which are missing.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

from report import ROOT, markdown

PAGE, KEPT = ROOT / 'reports/speed.md', ROOT / 'reports/speed_files'


class Part(NamedTuple):
    "A section of the page and the script that measures it"

    title: str
    fast: tuple[str, ...] = ('--fast',)  # what is added for a smaller measurement
    folder: bool = False  # whether it is given one to work in


PARTS = {
    'first_minutes': Part('The first minutes: reports and tests'),
    'install': Part('Installation and imports'),
    'epochs': Part('Where an epoch goes', ('--epochs', '2', '--rounds', '1')),
    'guards': Part('What the guards cost', ('--parts', 'example', 'heart')),
    'peers': Part('Beside other libraries'),
    'people': Part('Many people', ('--people', '60', '120'), folder=True),
    'heart_speed': Part('To a usable heart-rate model'),
    'heart_latency': Part('One prediction'),
    'ingest': Part('Reading archives'),
}


def measure(names: list[str], fast: bool) -> list[str]:  # -> those that failed
    "Run the scripts, one after the other"
    failed = []
    for name in names:
        script, part = ROOT / 'benchmarks' / f'{name}.py', PARTS[name]
        if not script.exists():
            continue
        print(f'\n{name}', flush=True)
        with tempfile.TemporaryDirectory() as folder:
            arguments = [*([folder] if part.folder else []), *(part.fast if fast else ())]
            started = [sys.executable, str(script), *arguments, '--json', f'reports/speed_files/{name}.json']
            if subprocess.run(started, cwd=ROOT).returncode:
                failed.append(name)
    return failed


def machine_line(machine: dict[str, Any]) -> str:
    "Where and when"
    before, after = machine['load']
    versions = ', '.join(f'{name} {version}' for name, version in machine['versions'].items())
    gpu = f", {machine['gpu']}" if machine['gpu'] else ''
    busy = before > 0.5 or after > machine['cores']
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB{gpu}, {machine['system']}; "
        f"load {before:g} before and {after:g} after"
        f"{': others were at work, so trust seconds of processor and ratios more than the clock' if busy else ''}. "
        f"{versions}. {machine['date']}, in {machine['took_s']:,} s."
    )


def section(name: str) -> list[str]:
    "A script's sentences and tables, of each file that it left"
    lines = [f'## {PARTS[name].title}', '']
    files = sorted(KEPT.glob(f'{name}.json')) + sorted(KEPT.glob(f'{name}-*.json'))
    if not files:
        return [*lines, f'Not measured: `benchmarks/{name}.py` left no `reports/speed_files/{name}.json`.', '']
    for file in files:
        kept = json.loads(file.read_text(encoding='utf-8'))
        lines += [f'- {sentence}' for sentence in kept['sentences']]
        for title, rows in kept['tables'].items():
            lines += ['', f'**{title}**', '', markdown(rows)]
        typed = re.sub(r'(?<=\s)/\S+', 'FOLDER', kept['command'])  # where it lay is of no meaning elsewhere
        lines += ['', f'`{typed}`  ', machine_line(kept['machine']), '']
    return lines


def page() -> str:
    "The whole page"
    lines = [
        'This page is made by `make benchmarks`; change the scripts, not the page.',
        '',
        '# What hrft costs',
        '',
        'Seconds, memory and sizes, each table with the command that made it and the machine that it ran on.',
        'Seconds of processor (CPU s) count the work of a process and its children, whatever else the machine does;',
        'ratios are of measurements made side by side. Before brackets stands the median of the repeats, in them',
        'their range.',
        '',
    ]
    for name in PARTS:
        lines += section(name)
    return '\n'.join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME', choices=[*PARTS, []], help='which scripts (default: all)')
    parser.add_argument('--measure', action='store_true', help='run the scripts first')
    parser.add_argument('--fast', action='store_true', help='smaller measurements')
    given = parser.parse_args()
    failed = measure(given.names or list(PARTS), given.fast) if given.measure else []
    PAGE.write_text(page(), encoding='utf-8')
    print(f'\n{PAGE.relative_to(ROOT)}' + (f"; these failed: {', '.join(failed)}" if failed else ''))
    return len(failed) > 0


if __name__ == '__main__':
    sys.exit(main())

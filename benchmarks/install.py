"""What an installation of hrft takes: its size by package, and seconds until it can be used

    python benchmarks/install.py [--repeats 5] [--before REVISION] [--fast] [--json FILE]

A new environment is made and hrft alone installed into it with the versions of constraints.txt; its wheels come from
pip's cache where they are there. Sizes by package are of the environment that runs this script, and of what hrft needs
of it: its requirements and theirs, by their metadata, without an extra and with each. Files are counted as `du` does,
in blocks of the disk. An import is timed in a fresh interpreter each, in seconds of processor and by the clock, with
the files in the disk's cache; what it loaded is named.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from report import ROOT, ran, save, spread

IMPORTS = {  # what is typed -> statement
    "hrft --help": "import contextlib, hrft.cli\nwith contextlib.suppress(SystemExit): hrft.cli.main(['--help'])",
    'import hrft': 'import hrft',
    'import hrft.logs.diagnose': 'import hrft.logs.diagnose',
    'import hrft.heart.study': 'import hrft.heart.study',
    'import hrft.faces.study': 'import hrft.faces.study',
    'import hrft.lips.study': 'import hrft.lips.study',
    'import hrft.clouds.study': 'import hrft.clouds.study',
    'import torch': 'import torch',
    'import pandas': 'import pandas',
}
HEAVY = 'torch', 'pandas', 'fastai', 'scipy', 'sklearn', 'matplotlib', 'pyarrow', 'kornia', 'skimage', 'transformers'


def megabytes(found: Distribution) -> float:
    "On the disk"
    total = 0
    for file in found.files or []:
        path = Path(str(found.locate_file(file)))
        if path.is_file():
            total += path.stat().st_blocks * 512
    return total / 1e6


def needed(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    "A package and all that it needs, as far as they are installed"
    found, ahead = set(), [(name, extras)]
    seen = set()
    while ahead:
        name, extras = ahead.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            own = distribution(name)
        except PackageNotFoundError:
            continue
        found.add(_plain(own.metadata['Name']))
        for text in own.requires or []:
            each = Requirement(text)
            if not each.marker or any(each.marker.evaluate({'extra': extra}) for extra in extras or ('',)):
                ahead.append((_plain(each.name), tuple(sorted(each.extras))))
    return found


def _plain(name):
    return re.sub('[-_.]+', '-', name).lower()


def imported(statement: str, repeats: int) -> dict[str, str]:
    "A row: seconds of an import, and what it loaded"
    code = f'{statement}\nimport sys\nprint("\\n", *[name for name in {HEAVY} if name in sys.modules])'
    runs = [ran([sys.executable, '-c', code]) for _ in range(repeats + 1)][1:]  # the first one warms the disk's cache
    return {
        'CPU s': spread([run.cpu_s for run in runs]),
        'seconds': spread([run.seconds for run in runs]),
        'peak MB': round(max(run.peak_mb for run in runs)),
        'loads': ', '.join(runs[0].printed.splitlines()[-1].split()) or 'none of the large libraries',
    }


def installed_fresh(name: str, revision: str = '') -> dict[str, Any]:  # of git; this tree by default
    "A row: a new environment with hrft alone, by pip and the versions of constraints.txt"
    with tempfile.TemporaryDirectory() as folder:
        archive, tree, venv = (Path(folder) / name for name in ('tree.tar', 'tree', 'venv'))
        subprocess.run(['git', 'archive', '--output', archive, revision or 'HEAD'], cwd=ROOT, check=True)
        shutil.unpack_archive(archive, tree)
        made = ran([sys.executable, '-m', 'venv', venv])
        asked = ['install', '--quiet', '--disable-pip-version-check', '--constraint', tree / 'constraints.txt', tree]
        done = ran([venv / 'bin/python', '-m', 'pip', *asked])
        used = subprocess.run(['du', '-sm', venv], capture_output=True, text=True, check=True).stdout.split()[0]
        packages = len(list(venv.glob('lib/python*/site-packages/*.dist-info')))
    return {
        '': name,
        'packages': packages,
        'MB': int(used),
        'seconds': made.seconds + done.seconds,
        'CPU s': done.cpu_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--before', metavar='REVISION', help='an earlier one of git, to be installed as well')
    parser.add_argument('--fast', action='store_true', help='two repeats, and nothing is installed')
    parser.add_argument('--json', type=Path, help='where to keep the figures')
    given = parser.parse_args()
    sizes = {_plain(each.metadata['Name']): megabytes(each) for each in distributions()}
    total = sum(sizes.values())
    plain, extras = needed('hrft'), sorted(distribution('hrft').metadata.get_all('Provides-Extra') or [])
    parts = {'hrft alone, with all it needs': plain} | {f'hrft[{each}]': needed('hrft', (each,)) for each in extras}
    rows = [
        {
            'installed': name,
            'packages': len(own),
            'MB': round(sum(sizes[each] for each in own)),
            'more than hrft alone, MB': round(sum(sizes[each] for each in own - plain)),
        }
        for name, own in parts.items()
    ]
    rows.append({'installed': 'this environment', 'packages': len(sizes), 'MB': round(total)})
    largest = sorted(plain, key=lambda name: -sizes[name])[:12]
    imports = [
        {'': name} | imported(statement, 2 if given.fast else given.repeats) for name, statement in IMPORTS.items()
    ]
    fresh = [] if given.fast else [installed_fresh('pip install hrft')]
    if given.before and fresh:
        fresh.insert(0, installed_fresh(f'the same, as of {given.before}', given.before))
    tables = {'A new environment': fresh} if fresh else {}
    tables |= {
        'Size of an installation on the disk': rows,
        'The largest packages that hrft alone needs': [{'package': n, 'MB': round(sizes[n])} for n in largest],
        'A fresh interpreter': imports,
    }
    alone = sum(sizes[name] for name in plain)
    sentences = [
        f"hrft alone needs {alone:,.0f} MB of this environment's {total:,.0f}; "
        f"torch is {100 * sizes['torch'] / alone:.0f} % of that.",
        *(f"`{row['']}` takes {row['CPU s']} s of processor and loads {row['loads']}." for row in imports[:3]),
    ]
    if fresh:
        now = fresh[-1]
        sentences.insert(
            0, f"`pip install hrft` takes {now['seconds']:.0f} s and {now['MB']:,} MB in a new environment."
        )
    if len(fresh) == 2:
        was = fresh[0]
        sentences.insert(1, f"As of {given.before} it took {was['seconds']:.0f} s and {was['MB']:,} MB.")
    save(given.json, tables, sentences)


if __name__ == '__main__':
    main()

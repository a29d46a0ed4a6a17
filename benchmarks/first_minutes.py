"""The first ten minutes after installation: `make reports`, again, and `make test`, in a fresh clone of this checkout

Once as quiet as the machine is, once beside two busy loops. Run it in the environment of `make setup`; what is not
committed is not measured. `--fast` leaves out the test and the busy loops.
"""

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from report import ROOT, ran, save

BUSY = 2  # loops beside


@contextlib.contextmanager
def beside(n: int):
    "So many processes that do nothing but take time"
    loops = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(n)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def first_minutes(test: bool) -> dict[str, float]:
    "Step -> seconds since the command that it belongs to"
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / 'hrft'
        subprocess.run(['git', 'clone', '--quiet', '--local', ROOT, clone], check=True)
        at = {'PYTHONPATH': str(clone), 'HRFT_SHARED': str(clone / 'none')}
        first, again = (ran([sys.executable, clone / '.ci/reports.py'], **at) for _ in range(2))
        took = re.findall(r'^(\w+): reports/\S+ .*; after (\d+) s\)$', first.printed, re.M)
        steps = {f'`make reports`: {name} stands': float(seconds) for name, seconds in took}
        steps |= {'`make reports`: all': first.seconds, '`make reports` again': again.seconds}
        rendered = ran([sys.executable, clone / '.ci/reports.py', '--again'], **at)
        steps['all rendered again from finished runs'] = rendered.seconds
        if test:
            tested = ran([sys.executable, clone / '.ci/check.py'], **at)
            kinds = re.findall(r'^passed  (.+) \((\d+) s\)$', tested.printed, re.M)
            steps |= {'`make test`': tested.seconds} | {f'of one core: {words}': float(s) for words, s in kinds}
            print(tested.printed[tested.printed.index('slowest tasks:') :])
        return steps


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--json', type=Path, help='where to keep the figures')
    parser.add_argument('--fast', action='store_true', help='no test, and no busy loops')
    asked = parser.parse_args()
    columns = {'quiet (s)': first_minutes(not asked.fast)}
    if not asked.fast:
        with beside(BUSY):
            columns[f'beside {BUSY} busy loops (s)'] = first_minutes(test=True)
    steps = dict.fromkeys(step for column in columns.values() for step in column)
    rows = [{'step': step} | {name: own.get(step) for name, own in columns.items()} for step in steps]
    quiet = columns['quiet (s)']
    heart, every = quiet['`make reports`: heart stands'], quiet['`make reports`: all']
    said = [f'The heart report stands after {heart:.0f} s, all reports after {every:.0f} s.']
    save(asked.json, {'The first ten minutes': rows}, said)

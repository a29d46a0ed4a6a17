"""The first ten minutes after installation: `make reports`, again, and `make test`, in a fresh clone of this checkout

As quiet as the machine is, or beside `--busy 2` loops that do nothing but take time. Run it in the environment of
`make setup`; what is not committed is not measured. `--fast` leaves out the test.
"""

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from report import ROOT, ran, save


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


def first_minutes(clone: Path, test: bool) -> dict[str, float]:
    "Step -> seconds since the command that it belongs to"
    subprocess.run(['git', 'clone', '--quiet', '--local', ROOT, clone], check=True)
    at = {'PYTHONPATH': str(clone)}
    first, again = (ran([sys.executable, clone / '.ci/reports.py'], **at) for _ in range(2))
    took = re.findall(r'^(\w+): reports/\S+ .*; after (\d+) s\)$', first.printed, re.M)
    steps = {f'`make reports`: {name} stands': float(seconds) for name, seconds in took}
    steps |= {'`make reports`: all': first.seconds, '`make reports` again': again.seconds}
    if test:
        tested = ran([sys.executable, clone / '.ci/check.py'], **at)
        kinds = re.findall(r'^passed  (.+) \((\d+) s\)$', tested.printed, re.M)
        steps |= {'`make test`': tested.seconds} | {f'of one core: {words}': float(s) for words, s in kinds}
        print(tested.printed[tested.printed.index('slowest tasks:') :])
    return steps


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--json', type=Path, help='where to keep the figures')
    parser.add_argument('--fast', action='store_true', help='no test')
    parser.add_argument('--busy', type=int, default=0, help='loops beside it (default: none)')
    parser.add_argument('--clone', type=Path, help='where to clone to, and leave the pages (default: nowhere)')
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, beside(asked.busy):
        steps = first_minutes(asked.clone or Path(folder) / 'hrft', not asked.fast)
    heart, every = steps['`make reports`: heart stands'], steps['`make reports`: all']
    where = f'Beside {asked.busy} busy loops the' if asked.busy else 'The'
    said = [f'{where} heart report stands after {heart:.0f} s, all reports after {every:.0f} s.']
    rows = [{'step': step, 's': seconds} for step, seconds in steps.items()]
    save(asked.json, {f'The first ten minutes{", beside busy loops" if asked.busy else ""}': rows}, said)

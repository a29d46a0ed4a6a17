"""Many people: simulated stores, closed-form histories and a cohort's report, on one core, on several and on Dask.

A store of the largest number of people is written and prepared; one of them is damaged. Then everybody is
personalised: on one core at each size (the first people of the store), and at the largest with processes of this
machine and with Dask workers. In a last run one worker is killed. Each run must write the same bytes as the one on one
core. Figures: seconds, CPU seconds of all processes, and the peak memory of all of them (shared pages counted once).

    python benchmarks/people.py FOLDER [--people 500 1000 2000] [--jobs 2] [--dask 2] [--workouts 30] [--json FILE]
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ingest import memory_mb, tree
from report import save

DAMAGED = 7  # number of the person whose file is cut off
PERSONALIZE = (
    'import sys\nfrom pathlib import Path\nfrom hrft.heart.results.cohort import personalize_all\n'
    'from hrft.workers import Workers\n'
    'if __name__ == "__main__":\n'
    ' store, out, people, jobs, scheduler = sys.argv[1:]\n'
    ' rows = personalize_all(store, out, people=Path(people).read_text().split(), '
    'workers=Workers(int(jobs), scheduler))\n'
    ' print(rows.error[rows.error != ""].to_string())'
)
SIMULATE = (
    'import sys\nfrom hrft.heart.simulate.archives import simulate_people\nfrom hrft.workers import Workers\n'
    'if __name__ == "__main__":\n'
    ' folder, people, workouts, damaged, jobs = sys.argv[1], *map(int, sys.argv[2:])\n'
    ' simulate_people(folder, people, n_workouts=workouts, damaged=(damaged,), workers=Workers(jobs))'
)
ONE_THREAD = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')
TICK_S = 1 / os.sysconf('SC_CLK_TCK')


def cpu_s(pids):
    "CPU seconds of processes and of all that they started, those that have ended included"
    total = 0.0
    for pid in {each for first in pids for each in tree(first)}:
        try:
            total += sum(map(int, Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[11:15])) * TICK_S
        except OSError:
            pass
    return total


def kill_worker(pid):
    "Kill the process that works most, of those that another has started; whether there was one"
    workers = sorted(tree(pid)[1:], key=lambda each: cpu_s([each]))
    if workers:
        os.kill(workers[-1], signal.SIGKILL)
    return bool(workers)


def run(arguments, others=(), kill_after_s=None):
    "Seconds, CPU seconds, peak MB and what was printed of one process and of other pids that work for it"
    before, start, seen = cpu_s(others), time.perf_counter(), {'mb': 0.0, 'cpu': 0.0, 'killed': 0}
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    done = threading.Event()

    def watch():
        while not done.wait(0.3):
            seen['mb'] = max(seen['mb'], sum(memory_mb(pid) for pid in (process.pid, *others)))
            seen['cpu'] = max(seen['cpu'], cpu_s([process.pid]))
            if kill_after_s and not seen['killed'] and time.perf_counter() - start > kill_after_s:
                seen['killed'] += kill_worker(process.pid)

    watcher = threading.Thread(target=watch)
    watcher.start()
    printed, _ = process.communicate()
    done.set()
    watcher.join()
    seconds = time.perf_counter() - start
    if process.returncode not in (0, 1):
        raise SystemExit(f'{" ".join(map(str, arguments[3:]))} ended with {process.returncode}:\n{printed[-4000:]}')
    return dict(
        seconds=seconds, cpu_s=seen['cpu'] + cpu_s(others) - before, peak_mb=seen['mb'], killed=seen['killed']
    ), printed


@contextmanager
def dask_workers(n, folder):
    "A Dask scheduler and its workers on this machine: the address, and the pids of the two commands"
    said, dask = folder / 'scheduler.json', [sys.executable, '-m', 'dask']
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    where = ['--scheduler-file', str(said)]
    local = ['--host', '127.0.0.1', '--port', '0', '--no-dashboard']
    started = [subprocess.Popen([*dask, 'scheduler', *where, *local], **quiet)]
    try:
        while not said.exists():
            time.sleep(0.2)
        each = ['--nworkers', str(n), '--nthreads', '1', '--local-directory', str(folder), '--no-dashboard']
        started.append(subprocess.Popen([*dask, 'worker', *where, *each], **quiet))
        yield json.loads(said.read_text())['address'], [process.pid for process in started]
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
        said.unlink(missing_ok=True)


def contents(cohort):
    "The bytes of a cohort, by name; the prepared people are not part of it"
    return {file.name: file.read_bytes() for file in sorted(cohort.glob('[!.]*')) if file.is_file()}


def personalize(store, cohort, names, jobs=1, scheduler='', **more):
    "Figures of one run over these people, what it wrote and what it said; the people that are prepared stay so"
    listed = cohort.with_suffix('.txt')
    listed.write_text('\n'.join(names) + '\n')
    for file in cohort.glob('*.*'):
        file.unlink()
    command = [sys.executable, '-c', PERSONALIZE, str(store), str(cohort), str(listed), str(jobs), scheduler]
    figures, printed = run(command, **more)
    where = scheduler or f'{jobs} process{"es" * (jobs > 1)}'
    print(f'{len(names):,} people, {where}: {figures["seconds"]:.1f} s, {figures["cpu_s"]:.1f} CPU s', flush=True)
    return figures, contents(cohort), printed


def row(what, figures, n_people):
    "Figures of a run as a row of a table"
    return {
        'what': what,
        'people': n_people,
        'seconds': figures['seconds'],
        'CPU s': figures['cpu_s'],
        'people a core-second': n_people / figures['cpu_s'],
        'peak MB': figures['peak_mb'],
    }


def megabytes(folder):
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) / 1e6


def extrapolated(serial, cohort, store_mb, prepared_mb, n=100_000):
    "What n people take, along the line through the sizes that were measured"
    people, spent = ([each[name] for each in serial] for name in ('people', 'CPU s'))
    slope, start = np.polyfit(people, spent, 1) if len(people) > 1 else (np.nan, np.nan)
    grown = n / people[-1]
    return {
        'people': n,
        'core-hours': float(slope * n + start) / 3600,
        'files of the cohort': len(cohort),
        'GB of the cohort': sum(map(len, cohort.values())) * grown / 1e9,
        'GB of prepared people': prepared_mb * grown / 1e3,
        'GB of the store': store_mb * grown / 1e3,
    }


def beside(figures, wrote, serial, kept, **row):
    "A run beside the one on one core: how much faster it was, and which files have other bytes"
    other = sorted(name for name in {*wrote, *kept} if wrote.get(name) != kept.get(name))
    return row | {'times as fast': serial['seconds'] / figures['seconds'], 'other bytes': ', '.join(other) or 'none'}


def measured(given):
    "Tables and sentences"
    folder, sizes, largest, cores = given.folder, sorted(given.people), max(given.people), max(*given.jobs, 2)
    store, cohort, names = folder / 'people', folder / 'cohort', [f's{number:06d}' for number in range(largest)]
    for left in (store, cohort):
        shutil.rmtree(left, ignore_errors=True)
    made, _ = run([sys.executable, '-c', SIMULATE, *map(str, (store, largest, given.workouts, DAMAGED, cores))])
    prepared, _, _ = personalize(store, cohort, names, cores)
    before = [row(f'simulated, {cores} processes', made, largest)]
    before += [row(f'prepared and personalised, {cores} processes', prepared, largest)]
    serial, kept = [], {}
    for n in sizes:
        figures, kept, said = personalize(store, cohort, names[:n])
        serial.append(row('one process', figures, n))
    several = []

    def add(what, figures, wrote):
        several.append(beside(figures, wrote, serial[-1], kept, **row(what, figures, largest)))

    for jobs in sorted({*given.jobs} - {1}):
        add(f'loky, {jobs} processes', *personalize(store, cohort, names, jobs)[:2])
    if given.dask:
        with dask_workers(given.dask, folder) as (address, pids):
            time.sleep(5)  # until the workers have joined
            found = personalize(store, cohort, names, 1, address, others=pids)
        add(f'Dask, {given.dask} workers', *found[:2])
    after_s = 4 + 0.3 * (several or serial)[0]['seconds']
    figures, wrote, said = personalize(store, cohort, names, cores, kill_after_s=after_s)
    add(f'loky, {cores} processes, {figures["killed"]} of them killed', figures, wrote)
    tables = {
        'A store of simulated people, a prepared one, and a cohort': before,
        'Everybody from the prepared store, on one core': serial,
        'The same on more cores, with Dask, and with a worker that is killed': several,
        'A hundred thousand people (extrapolated)': [
            extrapolated(serial, kept, megabytes(store), megabytes(cohort / 'people'))
        ],
    }
    return tables, sentences(serial, several, said)


def sentences(serial, several, said):
    "What follows from the figures"
    same = all(each['other bytes'] == 'none' for each in several)
    told = 'says' if f's{DAMAGED:06d}' in said else 'does NOT say'
    if len(serial) > 1:
        each_s, start_s = np.polyfit([each['people'] for each in serial], [each['CPU s'] for each in serial], 1)
        yield (
            f'From a prepared store a person takes {1000 * each_s:.0f} ms of one core ({1 / each_s:.0f} people a '
            f'core-second), and a process {start_s:.1f} s to start.'
        )
    yield f'Every run wrote {"the same bytes as" if same else "OTHER BYTES than"} the one on one core.'
    yield f'The command {told} which person has a damaged file.'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--people', type=int, nargs='+', default=[500, 1000, 2000])
    parser.add_argument('--jobs', type=int, nargs='+', default=[1, 2], help='processes; 1 is always measured')
    parser.add_argument('--dask', type=int, default=2, help='workers; 0: none')
    parser.add_argument('--workouts', type=int, default=30)
    parser.add_argument('--json', type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(ONE_THREAD)
    tables, told = measured(given)
    save(given.json, tables, list(told), ['joblib', 'distributed'])


if __name__ == '__main__':
    main()

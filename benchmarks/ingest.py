"""Ingest at full size: an endomondoHR.json of 20,000 workouts and an export.xml of 2 GB, written and read here.

For each: MB/s, workouts/s, cores in use, the peak memory of all processes together (shared pages counted once), and
the same again with one kill -9 in the middle, which must end in the same store. For Endomondo's lines also the time of
ast.literal_eval and of json after the quotes are replaced, on a sample of the same lines in the same run.

    python benchmarks/ingest.py [FOLDER] [--workouts 20000] [--megabytes 2000] [--workers N] [--only endomondo|apple]
        [--fast] [--json FILE]
"""

import argparse
import ast
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from apple_memory import write_export
from report import save, text

READ = (
    'import sys; from hrft.heart.files.ingest import ingest\n'
    'if __name__ == "__main__":\n'
    ' workers = int(sys.argv[3]) or None\n'
    ' print(ingest(sys.argv[1], sys.argv[2], progress=False, workers=workers)._head(str))'
)


def write_endomondo(path, n_workouts, points=500, people=1000, seed=0):
    "Lines like Endomondo's, their series drawn from 300 that were made beforehand, each with times of its own"
    rng = np.random.default_rng(seed)
    series = []
    for _ in range(300):
        heart_rate = 150 + 10 * np.sin(np.arange(points) / 60) + rng.normal(0, 1, points)
        step = rng.normal(1e-4, 2e-5, (2, points)).cumsum(axis=1)
        series.append(
            f"'speed': {(10 + rng.normal(0, 1, points).cumsum() * 0.1).clip(0).round(4).tolist()}, "
            f"'altitude': {(40 + rng.normal(0, 0.2, points).cumsum()).round(1).tolist()}, 'gender': 'male', "
            f"'heart_rate': {heart_rate.astype(int).tolist()}, "
            f"'latitude': {(60.17 + step[0]).tolist()}, 'longitude': {(24.65 + step[1]).tolist()}"
        )
    with open(path, 'w') as out:
        for i in range(n_workouts):
            time_s = 1_400_000_000 + 86400 * (i // people) + np.cumsum(rng.integers(1, 9, points))
            out.write(
                f"{{{series[i % 300]}, 'timestamp': {time_s.tolist()}, 'sport': 'run', 'userId': {10**6 + i % people}, "
                f"'id': {10**8 + i}, 'url': 'https://www.endomondo.com/users/{10**6 + i % people}'}}\n"
            )


def tree(pid):
    "A process and all that it started"
    found = [pid]
    for each in found:
        try:
            for children in Path(f'/proc/{each}/task').glob('*/children'):  # of each thread
                found += map(int, children.read_text().split())
        except OSError:
            pass
    return found


def memory_mb(pid):
    "Of a process and all that it started, shared pages counted once"
    total = 0
    for each in tree(pid):
        try:
            lines = Path(f'/proc/{each}/smaps_rollup').read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith('Pss:'))
        except OSError:
            pass
    return total / 1024


def run(source, store, workers, kill_after=None):
    "One ingest: seconds, seconds of processor, peak MB, what it printed"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start, peak, done = time.perf_counter(), [0.0], threading.Event()
    command = [sys.executable, '-c', READ, str(source), str(store), str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def watch():
        while not done.wait(0.2):
            peak[0] = max(peak[0], memory_mb(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        printed, _ = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        for pid in reversed(tree(process.pid)):
            os.kill(pid, signal.SIGKILL)
        printed, _ = process.communicate()
    done.set()
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu_s, peak[0], printed.strip()


def measure(source, n_workouts, folder, workers):  # -> row, sentence, MB/s
    "Ingest twice, the second time with a kill in the middle"
    from hrft.heart.files.store import Store

    megabytes, store, killed = source.stat().st_size / 1e6, folder / 'store', folder / 'killed'
    seconds, cpu_s, peak_mb, printed = run(source, store, workers)
    run(source, killed, workers, kill_after=seconds / 2)
    left = (killed / 'workouts.csv').exists()
    again_s, *_ = run(source, killed, workers)
    same = Store(killed).digest() == Store(store).digest()
    shutil.rmtree(store)
    shutil.rmtree(killed)
    row = {'': source.name, 'MB': round(megabytes), 'workouts': n_workouts, 'seconds': seconds, 'CPU s': cpu_s}
    row |= {'cores in use': cpu_s / seconds, 'MB/s': megabytes / seconds, 'workouts/s': n_workouts / seconds}
    said = (
        f"{source.name} killed after {seconds / 2:.0f} s ({'a store' if left else 'no store'} was left) and run again "
        f"for {again_s:.0f} s ends in {'the same store' if same else 'ANOTHER STORE'} ({printed})."
    )
    return row | {'peak MB': round(peak_mb)}, said, megabytes / seconds


def compare_lines(source, rate, n_lines=400):  # -> sentences
    "The same lines by ast.literal_eval, and by json after the quotes are replaced"
    with open(source) as stream:
        lines = list(itertools.islice(stream, n_lines))
    n_bytes, said = sum(map(len, lines)), []
    for name, parse in {
        'ast.literal_eval': ast.literal_eval,
        'json after the quotes are replaced': lambda line: json.loads(line.replace("'", '"')),
    }.items():
        start = time.perf_counter()
        for line in lines:
            parse(line)
        other = n_bytes / (time.perf_counter() - start) / 1e6
        said.append(
            f"{name} reads {other:.1f} MB/s of the same lines in one process, without a store; the ingest is "
            f"{text(rate / other)} times as fast."
        )
    return said


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, nargs='?', help='where archives are written (default: a temporary one)')
    parser.add_argument('--workouts', type=int, default=20_000)
    parser.add_argument('--megabytes', type=float, default=2000)
    parser.add_argument('--workers', type=int, default=0, help='0: as many as there are cores, up to 8')
    parser.add_argument('--only', choices=['endomondo', 'apple'])
    parser.add_argument('--fast', action='store_true', help='a twentieth of the sizes')
    parser.add_argument('--json', type=Path, help='where to keep the figures')
    given = parser.parse_args()
    share = 20 if given.fast else 1
    rows, sentences = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if given.only != 'apple':
            source = folder / 'endomondoHR.json'
            write_endomondo(source, given.workouts // share)
            row, said, rate = measure(source, given.workouts // share, folder, given.workers)
            rows, sentences = [row], [*compare_lines(source, rate), said]
            source.unlink()
        if given.only != 'endomondo':
            source = folder / 'export.xml'
            _, n_workouts = write_export(source, given.megabytes / share, 400 // share, 0)
            row, said, _ = measure(source, n_workouts, folder, given.workers)
            rows, sentences = [*rows, row], [*sentences, said]
            shutil.rmtree(folder / 'workout-routes')
            source.unlink()
    save(given.json, {'Archives into a store': rows}, sentences)


if __name__ == '__main__':
    main()

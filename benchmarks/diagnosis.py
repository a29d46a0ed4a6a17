"""How often `hrft diagnose` is right: faults put into small real trainings, each beside healthy twins

    python benchmarks/diagnosis.py make OUT [--part tune] [--seeds 3] [--processes 2]
    python benchmarks/diagnosis.py score OUT [--part tune] [--processes 2]
    python benchmarks/diagnosis.py report OUT

`make` trains the cases, `score` diagnoses each three times (its run folder, its log by epoch, its log by step) and
prints the table, `report` writes `reports/diagnosis-benchmark.md` and `hrft/logs/hit_rates.json` from what was scored.
A case that is there is not made again. Faults and tasks are in `mutations/`; which of them thresholds may be tuned on
was settled by the hashes of their names: `tune` holds cases whose fault and task are both known, `held` those where
neither is, `crossed` the rest.
"""

import argparse
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from mutations.cases import PARTS, TWINS, Case, cases, diagnose_case, train_case
from mutations.figures import by_fault, figures, hit_rates, page, results

from hrft.core import write_json


def _worker(what, case, out):
    "In a process of its own, with one thread"
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    {'make': train_case, 'score': diagnose_case}[what](case, out)


def work(what: str, wanted: list[Case], out: Path, processes: int) -> None:
    "Make or diagnose cases, and say how long it will take"
    os.environ['OMP_NUM_THREADS'] = '1'
    began, failed = time.perf_counter(), []
    with ProcessPoolExecutor(processes, get_context('spawn')) as pool:
        jobs = {pool.submit(_worker, what, case, out): case for case in wanted}
        for i, job in enumerate(as_completed(jobs), 1):
            if job.exception():
                failed.append(jobs[job])
                print(f'\n{jobs[job].folder}: {type(job.exception()).__name__}: {job.exception()}')
            left = (time.perf_counter() - began) / i * (len(jobs) - i)
            print(f'\r{what} {i} of {len(jobs)}, {left / 60:.1f} minutes left   ', end='', flush=True)
    took = (time.perf_counter() - began) / 60
    print(f'\n{len(wanted) - len(failed)} done in {took:.1f} minutes, {len(failed)} failed')


def show(out: Path, part: str, seeds: int) -> None:
    "The figures of a part in the terminal"
    table = results(cases(part, seeds), out)
    pd.set_option('display.width', 250, 'display.max_columns', 30, 'display.max_colwidth', 70, 'display.max_rows', 500)
    print(figures(table).T.to_string(header=False))
    print(by_fault(table).to_string(index=False))
    alarms = table[table.fault.isin(TWINS) & (table.alarms > 0)]
    print(alarms.groupby(['form', 'task', 'fault', 'first']).size().to_string() if len(alarms) else 'no false alarm')


def report(out: Path, seeds: int) -> None:
    "Write the page and the rates"
    root = Path(__file__).resolve().parents[1]
    (root / 'reports/diagnosis-benchmark.md').write_text(page(out, seeds), encoding='utf-8')
    write_json(root / 'hrft/logs/hit_rates.json', hit_rates(results(cases('tune', seeds), out)))


def main() -> None:
    "The command line"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=('make', 'score', 'report'))
    parser.add_argument('out', type=Path)
    parser.add_argument('--part', choices=(*PARTS, 'all'), default='all')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--processes', type=int, default=2)
    given = parser.parse_args()
    wanted = cases(given.part, given.seeds)
    made = {case for case in wanted if (given.out / case.folder / 'case.json').exists()}
    if given.what == 'make':
        given.out.mkdir(parents=True, exist_ok=True)
        work('make', [case for case in wanted if case not in made], given.out, given.processes)
    elif given.what == 'score':
        work('score', [case for case in wanted if case in made], given.out, given.processes)
        show(given.out, given.part, given.seeds)
    else:
        report(given.out, given.seeds)


if __name__ == '__main__':
    main()

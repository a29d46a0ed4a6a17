"""How often `hrft diagnose` is right: faults put into small real trainings, each beside healthy twins

    python benchmarks/diagnosis.py make OUT [--part tune] [--seeds 3] [--processes 2]
    python benchmarks/diagnosis.py score OUT [--part tune] [--processes 2]
    python benchmarks/diagnosis.py report OUT

`make` trains the cases, `score` diagnoses each three times (its run folder, its log by epoch, its log by step) and
prints the table, `report` writes `reports/diagnosis-benchmark.md` and `hrft/logs/hit_rates.json` from what was scored.
A case that is there is not made again. Faults and tasks are in `faults.py` and `tasks.py`; which of them thresholds may
be tuned on was settled by the hashes of their names: `tune` holds cases whose fault and task are both known, `held`
those where neither is, `crossed` the rest.
"""

import argparse
import math
import os
import shutil
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from faults import FAULTS, around, part_of
from filelock import FileLock
from scipy import stats
from tasks import TASKS, TaskStudy

from hrft.core import UserError, read_json, write_json
from hrft.evidence import wilson
from hrft.runfolder import Run

CLEAN = 'clean', 'clean-resumed'
TWINS = {'clean': 10, 'clean-resumed': 5}  # seeds
PARTS = 'tune', 'held', 'crossed'
FORMS = {'run': 'run', 'log': 'epochs.csv', 'steps': 'steps.csv'}  # what is diagnosed
FIRST = 3  # findings among which the cause must be named


@dataclass(frozen=True)
class Case:
    "One training"

    task: str
    fault: str  # or one of `CLEAN`
    seed: int

    @property
    def folder(self) -> str:
        return f'{self.task}/{self.fault}/s{self.seed}'

    @property
    def part(self) -> str:
        "A healthy twin belongs to its task's part"
        return part_of(self.task, self.fault if self.fault in FAULTS else '')


def cases(part: str, seeds: int) -> list[Case]:
    "What is made of a part, healthy twins first"
    found = [Case(task, clean, s) for task in TASKS for clean, n in TWINS.items() for s in range(n)]
    for task, about in TASKS.items():
        known = [f.name for f in FAULTS.values() if about.kind in f.kinds]
        found += [Case(task, fault, s) for fault in known for s in range(seeds)]
    wanted = {c.task for c in found if part in ('all', c.part) and c.fault in FAULTS}
    return [c for c in found if c.task in wanted and (c.fault in CLEAN or part in ('all', c.part))]


# --- make
def _study(case):
    "The task's study as the fault leaves it"
    study, fault = TaskStudy(TASKS[case.task]), FAULTS.get(case.fault)
    if fault and fault.items:
        rng = np.random.default_rng(case.seed)
        study.arrange = lambda parts: fault.items(parts, rng, study)
    if fault and fault.patch:
        fault.patch(study)
    return study, fault


def _parent(case, out):
    "A run on half of the training items, to go on from"
    from hrft.train import fit

    study, data = TaskStudy(TASKS[case.task]), {'train_share': 0.5}
    recipe = study.task.recipe(case.seed, {'keep_optimizer': True}, data).model_copy(update={'name': 'parent'})
    with FileLock(out / f'.parent-{case.task}-{case.seed}.lock'):
        return fit(study, recipe, '', out / 'parents', show=False).path


def train_case(case: Case, out: Path) -> None:
    "Train a case, and keep its run, its log as other tools write it, and what is known of it"
    from hrft.train import fit

    folder, (study, fault) = out / case.folder, _study(case)
    shutil.rmtree(folder, ignore_errors=True)
    resumed, ended = fault.resumed if fault else case.fault == 'clean-resumed', ''
    begin = {'start': str(_parent(case, out)), 'lr': 0.3 * study.task.lr, 'warmup_steps': 0, 'freeze': ('stem',)}
    began = time.perf_counter()
    try:
        study.open(study.task.recipe(case.seed, {}, {}), '')  # so that a fault knows the target's spread
        stage = (begin if resumed else {}) | (fault.stage(study) if fault else {})
        recipe = study.task.recipe(case.seed, stage, (fault.data if fault else None) or {})
        with around(fault):
            fit(study, recipe, '', folder / 'runs', show=False)
    except UserError as error:
        ended = str(error)
    run = next((Run(path) for path in folder.glob('runs/*/*')), None)
    if run:
        run = Run(run.path.rename(folder / 'run'))
        shutil.rmtree(folder / 'runs')
        _write_logs(run, folder)
    scores = run.metrics if run and run.finished else {}
    write_json(
        folder / 'case.json',
        asdict(case)
        | {'part': case.part, 'right': sorted(fault.right) if fault else [], 'ended': ended}
        | {'refused': not (folder / 'epochs.csv').exists(), 'seconds': round(time.perf_counter() - began, 1)}
        | {
            'score': scores.get('test', {}).get(study.monitor.name),
            'lower': TaskStudy(TASKS[case.task]).monitor.lower_is_better,
        },
    )


def _write_logs(run, folder):
    "The log by epoch and by step, as other tools write them"
    if not run.log.path.exists():
        return
    records = run.log.frame()
    table = run.log.epochs().reset_index().rename(columns={'lr': 'learning_rate'})
    metric = (
        next(m for s, m in zip(records.split, records.metric) if s == 'valid' and m != 'loss')
        if (records.split == 'valid').any()
        else 'loss'
    )
    shown = ['train_loss', *dict.fromkeys(('valid_loss', f'valid_{metric}')), 'learning_rate']
    table = table.reindex(columns=['epoch', *shown])
    steps = records[records.metric.isin(('loss', metric)) & records.split.isin(('train', 'valid'))]
    steps = (
        steps.assign(column=steps.split + '_' + steps.metric)
        .pivot_table('value', 'step', 'column', aggfunc='last', dropna=False)
        .join(records[records.lr.notna()].groupby('step').lr.last().rename('learning_rate'))
        .reindex(columns=shown)
    )
    base = next((s for s in run.metrics['stages'] if s['name'] == 'base'), None) if run.finished else None
    if base:  # what the weights that it goes on from score
        start = {f'valid_{metric}': base['validation'][metric]}
        table = pd.concat([pd.DataFrame([{'epoch': 0} | start]), table])[table.columns]
        steps = pd.concat([pd.DataFrame([start], index=[0]), steps])[steps.columns]
    table = table.astype(object).where(table.notna() | (table.epoch == 0).to_numpy()[:, None], 'nan')
    trained = steps.train_loss.astype(object)
    steps = steps.assign(train_loss=trained.where(trained.notna() | (steps.index == 0), 'nan'))
    table.to_csv(folder / 'epochs.csv', index=False)
    steps.rename_axis('step').to_csv(folder / 'steps.csv')


# --- score
def diagnose_case(case: Case, out: Path) -> dict:  # form -> [[severity, code, claim], ...]; None where it failed
    "What is found in a case, in three forms"
    from hrft.logs.diagnose import diagnose

    folder, found = out / case.folder, {}
    for form, name in FORMS.items():
        if (folder / name).exists():
            try:
                found[form] = [[f.severity, f.code, f.claim] for f in diagnose(folder / name)]
            except UserError as error:
                found[form] = [['note', 'cannot-be-read', str(error)]]
    write_json(folder / 'found.json', found)
    return found


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
    print(
        f'\n{len(wanted) - len(failed)} done in {(time.perf_counter() - began) / 60:.1f} minutes, {len(failed)} failed'
    )


def results(wanted: Iterable[Case], out: Path) -> pd.DataFrame:
    "One row a case and form that was diagnosed"
    rows, about = [], {c: out / c.folder / 'case.json' for c in wanted}
    about = {case: read_json(path) for case, path in about.items() if path.exists()}
    for case, known in about.items():
        fault, path = FAULTS.get(case.fault), out / case.folder / 'found.json'
        twin = CLEAN[bool(fault and fault.resumed)] if fault else case.fault
        twins = [a['score'] for c, a in about.items() if c.task == case.task and c.fault == twin]
        common = asdict(case) | {'part': case.part, 'effect': _effect(known, twins, fault)}
        common |= {key: known[key] for key in ('refused', 'ended', 'seconds')}
        found = read_json(path) if path.exists() else {}
        rows += [common | {'form': form} | _judged(found.get(form, []), fault) for form in FORMS]
    return pd.DataFrame(rows)


def _effect(about, twins, fault):
    "Whether a fault did harm: its score is outside the 95 % prediction interval of its twins, or harm has no score"
    twins = np.array([t for t in twins if t is not None], float)
    if not fault or fault.harmful or about['score'] is None or len(twins) < 3:
        return True
    half = stats.t.ppf(0.975, len(twins) - 1) * twins.std(ddof=1) * math.sqrt(1 + 1 / len(twins))
    return bool(abs(about['score'] - twins.mean()) > half)


def _judged(said, fault):
    "What the findings of one form are worth"
    right = fault.right if fault else set()
    true = right | set(fault.also) if fault else set()
    alarms = [code for severity, code, _ in said if severity != 'note']
    counted = [code for severity, code, _ in said if severity != 'note' or code in right]
    return {
        'detected': bool(counted),
        'named': any(code in right for _, code, _ in said[:FIRST]),
        'said': len(counted),
        'true': sum(code in true for code in counted),
        'alarms': len(alarms),
        'codes': [code for _, code, _ in said],
        'first': ', '.join(code for _, code, _ in said[:FIRST]) or 'nothing',
    }


def _share(hits, n=None):
    "A share with its interval; a dash of nothing"
    hits, n = (hits.sum(), len(hits)) if n is None else (hits, n)
    return '{:.2f} ({:.2f} to {:.2f})'.format(*wilson(int(hits), int(n))) if n else '-'


def _bitten(table: pd.DataFrame) -> pd.DataFrame:
    "Cases whose fault did harm, and that left something to diagnose"
    return table[~table.fault.isin(CLEAN) & table.effect & ~table.refused]


def figures(table: pd.DataFrame) -> pd.DataFrame:  # one row a form
    "How often a part was diagnosed right"
    rows = []
    for form, own in table.groupby('form', sort=False):
        clean, bad = own[own.fault.isin(CLEAN)], _bitten(own)
        shown = bad[~bad.fault.map(lambda name: FAULTS[name].traceless)]
        rows.append(
            {'diagnosed': FORMS[form], 'cases': len(bad), 'detected': _share(bad.detected)}
            | {
                'cause among the first three': _share(bad.named),
                'the same where a log has a trace': _share(shown.named),
            }
            | {'precision': _share(bad.true.sum(), bad.said.sum()), 'healthy': len(clean)}
            | {'false alarms per healthy run': f'{clean.alarms.mean():.2f}' if len(clean) else '-'}
            | {'healthy runs with one': _share(clean.alarms > 0)}
        )
    return pd.DataFrame(rows)


def by_fault(table: pd.DataFrame) -> pd.DataFrame:  # one row a fault
    "Of how many cases each fault was found, and named"
    rows = []
    for fault, own in table[~table.fault.isin(CLEAN)].groupby('fault', sort=False):
        run = own[own.form == 'run']
        row = {
            'fault': fault,
            'cases': len(run),
            'no effect': int((~run.effect).sum()),
            'refused': int(run.refused.sum()),
        }
        for form in FORMS:
            part = _bitten(own[own.form == form])
            row |= {
                f'{form}: found': f'{part.detected.sum()}/{len(part)}',
                'named' + ' ' * len(row): f'{part.named.sum()}/{len(part)}',
            }
        rows.append(row | {'mostly said of the run': run['first'].mode()[0]})
    return pd.DataFrame(rows)


def show(out: Path, part: str, seeds: int) -> None:
    "The figures of a part in the terminal"
    table = results(cases(part, seeds), out)
    pd.set_option('display.width', 250, 'display.max_columns', 30, 'display.max_colwidth', 70, 'display.max_rows', 500)
    print(figures(table).T.to_string(header=False))
    print(by_fault(table).to_string(index=False))
    alarms = table[table.fault.isin(CLEAN) & (table.alarms > 0)]
    print(alarms.groupby(['form', 'task', 'fault', 'first']).size().to_string() if len(alarms) else 'no false alarm')


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
    if given.what == 'make':
        given.out.mkdir(parents=True, exist_ok=True)
        work(
            'make', [c for c in wanted if not (given.out / c.folder / 'case.json').exists()], given.out, given.processes
        )
    elif given.what == 'score':
        work('score', [c for c in wanted if (given.out / c.folder / 'case.json').exists()], given.out, given.processes)
        show(given.out, given.part, given.seeds)


if __name__ == '__main__':
    main()

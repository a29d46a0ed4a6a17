"""One training of the benchmark: which, how it is made, and what is found in it"""

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from hrft.core import UserError, write_json
from hrft.logs.diagnose import diagnose
from hrft.runfolder import Run
from hrft.train import fit

from .faults import FAULTS, around, part_of
from .tasks import TASKS, TaskStudy

TWINS = {'clean': 10, 'clean-resumed': 5}  # healthy trainings, and how many seeds
PARTS = 'tune', 'held', 'crossed'
FORMS = {'run': 'run', 'log': 'epochs.csv', 'steps': 'steps.csv'}  # what is diagnosed


@dataclass(frozen=True)
class Case:
    "One training"

    task: str
    fault: str  # or a healthy twin
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
    return [c for c in found if c.task in wanted and (c.fault in TWINS or part in ('all', c.part))]


def _study(case):
    "The task's study as the fault leaves it"
    study, fault = TaskStudy(TASKS[case.task]), FAULTS.get(case.fault)
    if fault and fault.items:
        rng = np.random.default_rng(case.seed)
        study.arrange = lambda parts: fault.items(parts, rng, study)
    if fault and fault.patch:
        fault.patch(study)
    return study, fault


def _resumed(case, out):
    "Keys of a stage that goes on, at a lower rate and with a frozen stem, from a run on half of the training items"
    study, data = TaskStudy(TASKS[case.task]), {'train_share': 0.5}
    recipe = study.task.recipe(case.seed, {'keep_optimizer': True}, data).model_copy(update={'name': 'parent'})
    with FileLock(out / f'.parent-{case.task}-{case.seed}.lock'):
        start = fit(study, recipe, '', out / 'parents', show=False).path
    return {'start': str(start), 'lr': 0.3 * study.task.lr, 'warmup_steps': 0, 'freeze': ('stem',)}


def train_case(case: Case, out: Path) -> None:
    "Train a case, and keep its run, its log as other tools write it, and what is known of it"
    folder, (study, fault) = out / case.folder, _study(case)
    shutil.rmtree(folder, ignore_errors=True)
    resumed, ended = fault.resumed if fault else case.fault == 'clean-resumed', ''
    began = time.perf_counter()
    try:
        study.open(study.task.recipe(case.seed, {}, {}), '')  # so that a fault knows the target's spread
        stage = (_resumed(case, out) if resumed else {}) | (fault.stage(study) if fault else {})
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


def diagnose_case(case: Case, out: Path) -> dict:  # form -> [[severity, code, claim], ...]; None where it failed
    "What is found in a case, in three forms"
    folder, found = out / case.folder, {}
    for form, name in FORMS.items():
        if (folder / name).exists():
            try:
                found[form] = [[f.severity, f.code, f.claim] for f in diagnose(folder / name)]
            except UserError as error:
                found[form] = [['note', 'cannot-be-read', str(error)]]
    write_json(folder / 'found.json', found)
    return found

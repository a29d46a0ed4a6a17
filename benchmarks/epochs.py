"""Where an epoch's time goes, study by study, and what hrft adds to a plain PyTorch loop

    python benchmarks/epochs.py [--data FOLDER] [--cases heart/base faces/256] [--epochs 3] [--rounds 2] [--json FILE]

Seconds are of one CPU thread (`time.process_time`), so that what else runs on the machine does not count. An epoch is
`hrft.train.fit`'s own: its parts are measured around the calls that do the work, each without what is called inside
it, and the first epoch of every training, which warms up, is left out. The plain loop has the same network, batches,
augmentation, loss, optimiser, clip, average of weights and precision, and scores the validation items once an epoch;
it writes nothing and checks nothing. `network` is that loop's training on batches that lie ready. `--launches` counts
instead, on a device that only pretends, the operations that the CPU has to start for each step on a GPU, views among
them, which bound a small network there, and what comes back, for which it waits. Without `--data` all
recordings are simulated; a folder has `heart` (a store), `faces`, `lips` and `clouds`, as far as they are there.
"""

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import wraps
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from fastai.callback.training import GradientClip
from fastai.data.load import DataLoader
from fastai.learner import Learner
from report import save
from torch import nn

from hrft.callbacks import Pruned, StageCallback, WeightAverage, bfloat16_doubt
from hrft.core import set_seed, shipped_weights
from hrft.example import FakeDevice
from hrft.registry import find_recipe
from hrft.resume import Parent, inherited
from hrft.runfolder import Run, load_into
from hrft.runlog import RunLog
from hrft.study import DataFacts
from hrft.train import fit
from hrft.updates import Watch, _Activations

PARTS = 'loading', 'augmentation', 'forward', 'loss', 'backward', 'optimiser', 'validation', 'guards', 'files', 'loop'
ONE = ['stages.0.patience=0', 'stages.0.keep=last']


class Case(NamedTuple):
    "One training"

    recipe: str
    changes: list[str]  # of the recipe
    folder: str  # of the data
    parent: str = ''  # weights that come with hrft
    seen: int = 0  # training items an epoch; 0 for as many as there are


CASES = {
    'heart/base': Case('heart/base', [], 'heart'),
    'heart/personal': Case('heart/personal', [], 'heart', 'heart/base'),
    'clouds/base': Case('clouds/base', [], 'clouds'),
    'lips/base': Case('lips/base', [], 'lips'),
    'faces/128': Case('faces/base', ['data.train_pictures=64', 'data.validation=16'], 'faces'),
    'faces/256': Case('faces/base', ['data.train_pictures=32', 'data.validation=8', 'data.size_px=256'], 'faces'),
}


class Clock:
    "CPU seconds by part, each without those of the parts inside it"

    def __init__(self):
        self.epochs, self.stack, self.since = [], [], 0.0

    def _charge(self):
        now = time.process_time()
        if self.stack:
            self.epochs[-1][self.stack[-1]] += now - self.since
        self.since = now

    @contextmanager
    def part(self, name):
        if not self.stack and name != 'loop' or 'validation' in self.stack and name != 'files':
            yield
            return
        if name == 'loop':
            self.epochs.append(defaultdict(float))
        self._charge()
        self.stack.append(name)
        try:
            yield
        finally:
            self._charge()
            self.stack.pop()

    def around(self, function, name):
        "The function, timed"

        @wraps(function)
        def timed(*args, **kwargs):
            with self.part(name):
                return function(*args, **kwargs)

        return timed

    def around_items(self, function, name):
        "The generator, timed while it makes its items"

        @wraps(function)
        def timed(*args, **kwargs):
            items = function(*args, **kwargs)
            while True:
                with self.part(name):
                    item = next(items, None)
                if item is None:
                    return
                yield item

        return timed


def watched(clock, stack, study, model_type):
    "Have a training's parts timed"
    timed = [
        ('validation', Learner, '_do_epoch_validate'),
        ('backward', Learner, '_backward'),
        ('optimiser', Learner, '_step'),
        ('optimiser', GradientClip, 'before_step'),
        ('optimiser', WeightAverage, 'update'),
        ('forward', model_type, 'forward'),
        *(('guards', Watch, name) for name in ('before_step', 'after_step', 'gradients', 'read', 'look')),
        *(('guards', _Activations, name) for name in ('_look', '_settle')),
        *(('guards', StageCallback, name) for name in ('before_batch', 'after_loss', 'after_backward', 'after_epoch')),
        *(('files', owner, name) for owner, name in ((Run, 'checkpoint'), (Run, 'save_stage'), (RunLog, 'extend'))),
    ]
    for module, owner, name in (
        ('hrft.faces.augment', 'Augmentation', '__call__'),
        ('hrft.lips.data', None, 'augment'),
        ('hrft.clouds.data', None, 'augmented'),
        ('hrft.heart.prepare.data', None, 'augment'),
    ):
        found = import_module(module)
        timed.append(('augmentation', getattr(found, owner) if owner else found, name))
    whole = Learner._with_events

    def with_events(self, function, event, *given):
        with clock.part('loop') if event == 'epoch' else nullcontext():
            return whole(self, function, event, *given)

    stack.enter_context(patch.object(Learner, '_with_events', with_events))
    for name, owner, method in timed:
        stack.enter_context(patch.object(owner, method, clock.around(getattr(owner, method), name)))
    stack.enter_context(patch.object(DataLoader, '__iter__', clock.around_items(DataLoader.__iter__, 'loading')))
    loss = type(study).loss
    stack.enter_context(
        patch.object(type(study), 'loss', lambda self, *given: clock.around(loss(self, *given), 'loss'))
    )


class Counted(FakeDevice):
    "A device that pretends, and counts what it is asked for by part"

    def __init__(self, clock):
        super().__init__()
        self.clock, self.operations, self.waits = clock, Counter(), Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if self.clock.stack:
            part, name, first = self.clock.stack[-1], func.overloadpacket.__name__, args[0] if args else None
            to = (kwargs or {}).get('device')
            back = name == '_local_scalar_dense' or name == '_to_copy' and to and torch.device(to).type == 'cpu'
            self.operations[part] += 1
            self.waits[part] += bool(back and first.is_meta)
        return super().__torch_dispatch__(func, types, args, kwargs)


class Training:
    "What the two loops share"

    def __init__(self, case, folder, epochs):
        several = case.recipe.startswith('heart')
        changes = [*case.changes, *ONE, f'stages.0.epochs={epochs}', 'stages.0.warmup_steps=1']
        self.study, recipe = find_recipe(case.recipe, changes)
        self.recipe = recipe.model_copy(update={'stages': recipe.stages[:1]})
        if case.parent:
            self.recipe = self.recipe.model_copy(update={'person': 'p01'})
        path = folder and Path(folder) / case.folder
        self.source = path if path and path.exists() else self.study.default_source()
        if several and case.parent and self.source != path:
            self.recipe = self.recipe.model_copy(update={'person': 'watch'})
        self.weights = shipped_weights()[case.parent] if case.parent else None
        self.parent = Parent.read(self.study, self.weights) if case.parent else None
        self.full = inherited(self.recipe, self.parent.header) if self.parent else self.recipe
        self.stage = self.full.stages[0]
        self.data: Any = self.study.open(self.full, self.source, self.parent and self.parent.header)

    def model(self):
        "As it begins"
        set_seed(0)
        model = self.study.build(self.full, DataFacts(self.data.normalisation, self.study.inputs(self.data)))
        if self.parent:
            load_into(model, self.parent.state, 'base')
        for name, parameters in self.study.groups(model).items():
            for p in parameters:
                p.requires_grad_(name not in self.stage.freeze)
        return model


def hrft_epochs(training, clock, device='cpu'):
    "Parts of each epoch of `fit`, which is left before it scores the run"

    def leave(run, stage, epoch, value):
        if epoch == training.stage.epochs:
            raise Pruned('timed')

    with ExitStack() as stack, tempfile.TemporaryDirectory() as runs, suppress(Pruned):
        watched(clock, stack, training.study, type(training.model()))
        fit(training.study, training.recipe, training.source, runs, training.weights, False, 1, device, leave)


def plain_epochs(training, ready=False):
    "Seconds of each epoch of a loop as anybody writes it; ready: the network alone, on batches that are there"
    study, data, stage, model = training.study, training.data, training.stage, training.model()
    part = study.at_stage(data, stage)
    loaders, loss = study.loaders(part, stage), study.loss(training.full, part)
    batches = list(loaders.train) if ready else None
    half = stage.amp and not bfloat16_doubt(model, loaders.train.one_batch(), loss)
    trained, seconds = [p for p in model.parameters() if p.requires_grad], []
    optimiser = torch.optim.AdamW(trained, lr=stage.lr, weight_decay=stage.optimizer.weight_decay)
    average = WeightAverage(model, stage.ema_decay) if stage.ema_decay else None
    for _ in range(stage.epochs):
        begun = time.process_time()
        model.train()
        for *inputs, target in batches or loaders.train:
            with torch.autocast('cpu', torch.bfloat16) if half else nullcontext():
                predicted = model(*inputs)
            value = loss(predicted.float(), target)
            value.backward()
            if stage.clip_norm:
                nn.utils.clip_grad_norm_(trained, stage.clip_norm)
            optimiser.step()
            optimiser.zero_grad()
            if average:
                average.update(model)
        if not ready:
            validated(study, part, average.model.module if average else model, loaders.valid, loss)
        seconds.append(time.process_time() - begun)
    return seconds[1:]


@torch.no_grad()
def validated(study, data, model, batches, loss):
    "Loss and metric of the validation items"
    model.eval()
    outputs, total, count = [], 0.0, 0
    for *inputs, target in batches:
        predicted = model(*inputs)
        n = study.weight(target)
        total, count = total + float(loss(predicted, target)) * n, count + n
        outputs.append(study.output(model, predicted, *inputs))
    table, scoring = study.table(data, 'validation', outputs), study.scoring
    return total / count, float(scoring.monitor.value(scoring.sums(table, scoring).sum()))


def measured(case, given):
    "One training's figures"
    training = Training(CASES[case], given.data, given.epochs + 1)
    epochs, plain, network = [], [], []
    for _ in range(given.rounds):
        hrft_epochs(training, clock := Clock())
        epochs += clock.epochs[1:]
        plain += plain_epochs(training)
        network += plain_epochs(training, ready=True)
    totals = [sum(epoch.values()) for epoch in epochs]
    return {
        'case': case,
        'items': len(getattr(training.data.train, 'workouts', training.data.train)),
        'simulated': str(training.source) == str(training.study.default_source()),
        'hrft_s': median(totals),
        'plain_s': median(plain),
        'network_s': median(network),
        'parts_s': {part: median(epoch[part] for epoch in epochs) for part in PARTS},
    }


def launched(case, given):
    "Operations and waits of one step, by part"
    training, clock = Training(CASES[case], given.data, 1), Clock()
    with Counted(clock) as device:
        hrft_epochs(training, clock, 'meta')
    part = training.study.at_stage(training.data, training.stage)
    steps = len(training.study.loaders(part, training.stage).train)
    parts = {part: (device.operations[part] / steps, device.waits[part] / steps) for part in PARTS}
    return {'case': case, 'steps': steps, 'launches': parts}


def launch_table(rows):
    "Tables and sentences: a column a training"
    cells = [{part: '{:.0f} ({:.1f})'.format(*row['launches'][part]) for part in PARTS} for row in rows]
    names = [f"{row['case']}, {row['steps']} steps" for row in rows]
    return {
        'Operations (waits) a step': [{'': part} | {n: own[part] for n, own in zip(names, cells)} for part in PARTS]
    }, []


def table(rows):
    "Tables and sentences: a column a training"
    lines = [{'': part} | {row['case']: row['parts_s'][part] for row in rows} for part in PARTS]
    lines += [{'': name} | {row['case']: row[f'{name}_s'] for row in rows} for name in ('hrft', 'plain', 'network')]
    lines.append({'': 'hrft / plain'} | {row['case']: row['hrft_s'] / row['plain_s'] for row in rows})
    lines.append({'': 'items'} | {row['case']: row['items'] for row in rows})
    said = [
        f"{r['case']}: an epoch of hrft takes {r['hrft_s'] / r['plain_s']:.2f} times the plain loop's." for r in rows
    ]
    return {'CPU seconds an epoch': lines}, said


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='', help='folder of recordings; simulated ones by default')
    parser.add_argument('--cases', nargs='+', choices=list(CASES), default=list(CASES))
    parser.add_argument('--epochs', type=int, default=3, help='that count, of each training')
    parser.add_argument('--rounds', type=int, default=2, help='trainings of each loop, one after the other')
    parser.add_argument('--launches', action='store_true', help='count operations on a pretended GPU instead')
    parser.add_argument('--json', type=Path, help='file for the figures')
    given = parser.parse_args()
    torch.set_num_threads(1)
    measure, show = (launched, launch_table) if given.launches else (measured, table)
    rows = [measure(case, given) for case in given.cases]
    save(given.json, *show(rows))


if __name__ == '__main__':
    main()

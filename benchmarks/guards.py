"""What hrft's guards cost a training, each by itself

    python benchmarks/guards.py [--json FILE] [--parts example heart faces lips]
        [--heart STORE] [--faces DATA] [--lips DATA]

Each guard's own functions are wrapped by a clock of processor time, which counts no function that another guard claims
inside of it; the shares are of the time of all epochs, their validation included. What happens once a training, before
its first step and after its last, is told in seconds. Without data each study takes its simulated ones.
"""

import argparse
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import torch
from fastai.learner import Learner
from report import save

from hrft import callbacks, resume, train, updates
from hrft.example import SignalStudy, two_stages
from hrft.registry import find_recipe
from hrft.runfolder import Run
from hrft.runlog import RunLog
from hrft.train import fit

GUARDS = {
    'bits of frozen and trained weights': [(updates.Watch, '_follow_flags changed read restart')],
    'norms of gradients and updates': [(updates.Watch, 'gradients before_step after_step')],
    'dead and saturated units': [(updates._Activations, '__torch_function__ shares'), (updates.Watch, 'look')],
    'finite loss and gradients': [(callbacks.StageCallback, 'after_loss after_backward')],
    'seeds and planned rates': [
        (callbacks.StageCallback, 'before_epoch before_batch'),
        (callbacks.Freeze, 'before_train'),
    ],
    'log': [(RunLog, 'extend'), (callbacks.StageCallback, '_log_epoch')],
    'checkpoint for an exact resume': [(Run, 'checkpoint'), (callbacks, '_learner_tensors')],
    'weights of the best epoch': [(Run, 'save_stage save_optimizer')],
    'metric of pooled items': [(callbacks.MonitoredMetric, 'accumulate value'), (callbacks.PooledLoss, 'accumulate')],
}
ONCE = {
    'order of items, findings of the pipeline': [(train, '_inspect')],
    'is bfloat16 safe here': [(train, '_precision')],
    'is it other code': [(resume, 'code_digest'), (train, 'code_digest other_code')],
    'damaged files': [(train, 'forget_damaged _begun')],
    'scores and paired tests of all stages': [(train, '_score_stages')],
    'baselines, and what the study keeps beside': [(train, '_judge')],
}


class Clock:
    "Processor seconds of the main thread by what they were spent on, each counted once"

    def __init__(self):
        self.seconds, self.calls, self.names, self.last = Counter(), Counter(), ['training'], time.thread_time()

    def turn(self):
        now = time.thread_time()
        self.seconds[self.names[-1]] += now - self.last
        self.last = now

    @contextmanager
    def on(self, name):
        self.turn()
        self.names.append(name)
        self.calls[name] += 1
        try:
            yield
        finally:
            self.turn()
            self.names.pop()

    def timed(self, function, name):
        @wraps(function)
        def wrapped(*args, **kwargs):
            with self.on(name):
                return function(*args, **kwargs)

        return wrapped

    def seen(self, function, name):
        "`__torch_function__`, without what it is asked about"

        def wrapped(mode, func, types, args=(), kwargs=None):
            with self.on(name):
                return function(mode, self.timed(func, 'training'), types, args, kwargs)

        return wrapped


@contextmanager
def replaced(places):  # owner, name, and what stands there within it
    "Within it owners have other functions"
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in places]
    for owner, name, new in places:
        setattr(owner, name, new)
    try:
        yield
    finally:
        for owner, name, own in before:
            setattr(owner, name, own)


def timed(clock: Clock):
    "Within it the functions of all guards are timed"
    instead = []
    for guard, places in (GUARDS | ONCE).items():
        for owner, names in places:
            for name in names.split():
                own = vars(owner)[name]
                if isinstance(own, property):
                    new = property(clock.timed(own.fget, guard))
                else:
                    new = (clock.seen if name == '__torch_function__' else clock.timed)(own, guard)
                instead.append((owner, name, new))
    return replaced(instead)


SILENT = [
    (updates.Watch, 'before_step gradients after_step look restart', lambda *_, **__: None),
    (updates.Watch, 'read', lambda *_: updates.Reading({}, [], [])),
    (updates.Watch, 'changed', lambda *_: []),
    (callbacks.StageCallback, 'after_loss after_backward', lambda *_: None),
    (RunLog, 'extend', lambda *_: None),
    (Run, 'checkpoint', lambda *_: None),
]


def silenced():
    "Within it nothing is watched, logged or left for a resume; what is kept of the best epoch still is"
    return replaced([(owner, name, nothing) for owner, names, nothing in SILENT for name in names.split()])


@contextmanager
def fitted(clock: Clock):
    "Within it the seconds of all epochs are gathered by what they were spent on"
    own, found = Learner.fit, Counter()

    def fit_epochs(learn, *args, **kwargs):
        clock.turn()
        before = Counter(clock.seconds)
        try:
            return own(learn, *args, **kwargs)
        finally:
            clock.turn()
            found.update(clock.seconds - before)

    Learner.fit = fit_epochs
    try:
        yield found
    finally:
        Learner.fit = own


def epochs_alone(study, recipe, source) -> float:
    "Seconds of all epochs with the guards silenced; what comes before and after them is left out"
    clock, judge = Clock(), train._judge
    train._judge = lambda *_: None
    try:
        with tempfile.TemporaryDirectory() as folder, silenced(), fitted(clock) as found:
            fit(study, recipe, source, folder, show=False)
    finally:
        train._judge = judge
    return sum(found.values())


def measured(study, recipe, source) -> dict:
    "Seconds of one training, and what of them each guard took"
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, timed(clock), fitted(clock) as found:
        run = fit(study, recipe, source, folder, show=False)
        table = run.log.epochs()
    total = sum(found.values())
    return {
        'epochs': len(table),
        'steps': int(table.groupby(level=0).step.max().sum()),
        'epoch_s': total / len(table),
        'guards': {name: found[name] / total for name in GUARDS},
        'all_guards': sum(found[name] for name in GUARDS if name != 'metric of pooled items') / total,
        'silenced_epoch_s': min(epochs_alone(study, recipe, source) for _ in range(2)) / len(table),
        'once_s': {name: clock.seconds[name] for name in ONCE},
    }


def cases(asked, sources) -> dict:
    "Studies, recipes and data"
    found = {}
    if 'example' in asked:
        found['example'] = SignalStudy(), two_stages, 'none'
    epochs = {'heart': ['stages.0.epochs=2'], 'faces': ['stages.0.epochs=2'], 'lips': ['stages.0.epochs=2']}
    for name in [name for name in asked if name != 'example']:
        study, recipe = find_recipe(f'{name}/base', epochs[name])
        found[f'{name}/base'] = study, recipe, sources[name] or study.default_source()
    return found


def tables_of(found: dict) -> dict[str, list[dict]]:
    "Shares of an epoch and seconds of a training, a column a training"
    shares = [
        {'guard': guard} | {name: f"{own['guards'][guard]:.2%}" for name, own in found.items()} for guard in GUARDS
    ]
    for words, key, form in (
        ('all guards, without the metric', 'all_guards', '.2%'),
        ('seconds an epoch', 'epoch_s', '.3f'),
        ('the same, guards silenced', 'silenced_epoch_s', '.3f'),
    ):
        shares.append({'guard': words} | {name: format(own[key], form) for name, own in found.items()})
    once = [{'guard': guard} | {name: own['once_s'][guard] for name, own in found.items()} for guard in ONCE]
    return {'Share of an epoch': shares, 'Seconds once a training': once}


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', type=Path)
    parser.add_argument('--parts', nargs='+', default=['example', 'heart', 'faces', 'lips'])
    for name in ('heart', 'faces', 'lips'):
        parser.add_argument(f'--{name}')
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: measured(*case) for name, case in cases(options.parts, vars(options)).items()}
    sentences = [
        f"{name}: the guards together cost {own['all_guards']:.1%} of an epoch." for name, own in found.items()
    ]
    save(options.json, tables_of(found), sentences)

"""Faults that `benchmarks/diagnosis.py` puts into healthy trainings, each with the findings that would name it

In the manner of DeepCrime's mutation operators, and of the faults that hrft was made against. A fault changes the
recipe, the items, or the training itself. `right` are the codes of findings that name the cause or its remedy, `also`
those that are true of the training as well; both were written down before any case was diagnosed. What hrft refuses or
leaves no room for is done around its guard, and `guard` says which.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from unittest import mock

import numpy as np
import torch
from tasks import TASKS, Items, Loader, TaskStudy
from torch import nn

from hrft import callbacks, train
from hrft.faces.readers import CLASSES

# families of codes: what a finding says is wrong, or would have to be changed
HOT = {'divergence', 'not-finite', 'erratic-validation', 'rate-too-high', 'exploding-gradients', 'update-too-large'}
COLD = {'underfitting', 'no-learning', 'rate-too-low', 'update-too-small', 'vanishing-gradients', 'slow-start'}
LONG = {'overfitting', 'wasted-epochs', 'no-early-stop', 'plateau'}
USELESS = {'no-learning', 'no-better-than-baseline', 'worse-than-baseline', 'negative-r2', 'constant-metric'}
ONE_CLASS = {'class-collapse', 'class-share', 'constant-metric'}
RESUME = {'resume-drops', 'worse-than-start', 'stage-hurt', 'resumed-worse'}
POOR = (
    USELESS | COLD | ONE_CLASS | {'level-missed', 'plateau', 'stage-hurt', 'class-degraded'}
)  # of much that is broken


@dataclass(frozen=True)
class Fault:
    "One way to spoil a training"

    name: str
    kind: str  # what it changes: recipe, items or training
    about: str  # what is done
    right: set  # codes of findings that name the cause
    also: set = frozenset()  # and of those that are true besides
    stage: Callable[[TaskStudy], dict] = lambda study: {}  # keys of the stage
    data: dict | None = None  # keys of the recipe's `data`
    items: Callable | None = None  # parts, random numbers, study -> parts
    patch: Callable[[TaskStudy], None] | None = None  # replaces methods of the study
    training: Callable | None = None  # a context around `fit`
    resumed: bool = False  # goes on from a run that saw half of the items
    kinds: tuple = ('class', 'pixels', 'number')  # of targets
    harmful: bool = False  # whatever the score: it broke off, or what the run says of itself is not so
    traceless: bool = False  # nothing of it is in a log of losses and rates
    guard: str = ''  # of hrft that was lifted


def _parts(change: Callable, *splits: str) -> Callable:
    "The same change of several splits"
    return lambda parts, rng, study: parts | {split: change(parts[split], rng, study) for split in splits}


def _order(items: Items) -> torch.Tensor:  # `(N,)`
    "One number an item: its class, its value, or its mean"
    return items.y.double().flatten(1).mean(1) if items.y.ndim > 1 else items.y.double()


# --- items
def _permuted(share):
    def change(items, rng, study):
        chosen = np.flatnonzero(rng.random(len(items)) < share)
        y = items.y.clone()
        y[chosen] = items.y[rng.permutation(chosen)]
        return replace(items, y=y)

    return _parts(change, 'train')


def _class_dropped(items, rng, study):
    if study.task.kind == 'pixels':
        return replace(items, y=items.y.masked_fill(items.y == CLASSES.index('hair'), 0))
    kept = items.y != 1 if study.task.kind == 'class' else _order(items) < _order(items).quantile(0.6)
    return items.take(np.flatnonzero(kept.numpy()))


def _overlap(parts, rng, study):
    every = [parts[split] for split in ('train', 'validation', 'test')]
    joined = [torch.cat([getattr(items, key) for items in every]) for key in ('x', 'y')]
    names = [np.concatenate([getattr(items, key) for items in every]) for key in ('group', 'name')]
    return parts | {'train': Items(*joined, *names)}


def _leak(items, rng, study):
    x, y = (
        items.x.clone(),
        (items.y - study.level[0]) / study.level[1] if study.task.kind == 'number' else items.y.float(),
    )
    if study.task.kind == 'class' and x.ndim > 2:
        x[..., 0, 0] = y[:, None]
    else:
        x[:, -1] = y if x.ndim == y.ndim + 1 else y[(..., *(None,) * (x.ndim - 1 - y.ndim))]
    return replace(items, x=x)


def _sorted(items, rng, study):
    return items.take(np.argsort(_order(items).numpy(), kind='stable'))


def _rare(items, rng, study):
    "Every second class loses seven of eight items"
    common = items.y.numpy() % 2 == 0
    return items.take(np.flatnonzero(common | (rng.random(len(items)) < 1 / 8)))


def _wrapped(x):
    "Normalised floats through 8 bits"
    return (x * 255 % 256 / 255 - 0.5) * 3.5


# --- patches of the study
def _check_nothing(study):
    study.check_splits = lambda data, known: None


def _validation_changed(study):
    plain, rng = study.batches, torch.Generator().manual_seed(0)

    def noisy(x):
        return x.roll(int(torch.randint(-2, 3, (), generator=rng)), -1) + torch.randn(x.shape, generator=rng)

    def batches(data, split):
        return Loader(data.parts[split], 256, change=noisy) if split == 'validation' else plain(data, split)

    study.batches = batches


def _not_shuffled(study):
    study.shuffle = False


def _destroyed(study):
    study.change_train = _wrapped


def _upside_down(study):
    first, *others = study.scoring.metrics
    study.scoring = replace(study.scoring, metrics=(replace(first, lower_is_better=not first.lower_is_better), *others))


def _loss(change: Callable) -> Callable:
    "A study whose loss is changed"

    def patch(study):
        plain = study.loss
        study.loss = lambda recipe, data: lambda predicted, y, own=plain(recipe, data): change(own, predicted, y, study)

    return patch


def _wrong_output(own, predicted, y, study):
    "A softmax too many, or a difference of everything with everything"
    if study.task.kind != 'number':
        return own(predicted.softmax(1), y)
    return ((predicted[:, None] - y[None]) / study.level[1]).pow(2).mean()


def _network(change: Callable) -> Callable:
    "A study whose fresh network is changed"

    def patch(study):
        plain = study.build

        def build(recipe, facts):
            net = plain(recipe, facts)
            with torch.no_grad():
                for part in (net.stem, net.body):
                    for i, module in enumerate(part):
                        change(part, i, module)
                change(net, None, net.head)
            return net

        study.build = build

    return patch


def _saturate(part, i, module):
    if isinstance(module, nn.ReLU):
        part[i] = nn.Sigmoid()
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        part[i] = nn.Identity()
    if i == 0:
        module.weight.mul_(40)


def _kill(part, i, module):
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.bias.fill_(-4)


def _drop(part, i, module):
    if isinstance(module, nn.Dropout):
        module.p = 0.95
    if isinstance(module, nn.ReLU):
        part[i] = nn.Sequential(module, nn.Dropout(0.8))


def _still_statistics(part, i, module):
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.momentum = 0.0


def _zero(part, i, module):
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        part[i] = nn.Identity()
    for p in module.parameters():
        p.zero_()


def _nan_later(study):
    "An input becomes NaN after a third of the training"
    seen = {'batches': 0}

    def change(x):
        seen['batches'] += 1
        late = seen['batches'] > study.steps_an_epoch * study.task.epochs / 3
        return x * float('nan') if late else x

    study.change_train, study.inspect = change, lambda recipe, data: []


# --- contexts around the training
@contextmanager
def _learner(change: Callable) -> Iterator[None]:
    "Learners are changed before they train; that frozen tensors stay is not checked"
    plain = train._learner

    def learner(training, model, ready):
        learn = plain(training, model, ready)
        change(learn, model, ready)
        return learn

    with mock.patch.object(train, '_learner', learner), mock.patch.object(train, 'frozen_state', lambda model: {}):
        yield


def _train_frozen(learn, model, ready):
    for name in ready.stage.freeze:
        for p in ready.groups[name]:
            p.requires_grad_(True)
            learn.opt.opt.param_groups[-1]['params'].append(p)


def _train_copies(learn, model, ready):
    for group in learn.opt.opt.param_groups:
        group['params'] = [p.detach().clone().requires_grad_() for p in group['params']]


@contextmanager
def _restarted() -> Iterator[None]:
    "The schedule begins anew after 70 % of the training, which ends in the middle of it"
    plain = callbacks.lr_at

    def lr_at(stage, step, steps_per_epoch):
        first = int(0.7 * stage.epochs) * steps_per_epoch
        return plain(stage, step if step <= first else step - first, steps_per_epoch)

    with mock.patch.object(callbacks, 'lr_at', lr_at):
        yield


def _any_start():
    return mock.patch.object(train, 'check_resumed', lambda study, stage, predictions: None)


def _delta(study):
    return {'number': 0.1 * study.level[1], 'class': 0.1, 'pixels': 0.1}[study.task.kind]


FAULTS = {
    fault.name: fault
    for fault in (
        # --- recipe
        Fault('rate-x10', 'recipe', 'learning rate times 10', HOT, POOR, lambda s: {'lr': s.task.lr * 10}),
        Fault('rate-x100', 'recipe', 'learning rate times 100', HOT, POOR, lambda s: {'lr': s.task.lr * 100}),
        Fault('rate-30th', 'recipe', 'a thirtieth of the learning rate', COLD, POOR, lambda s: {'lr': s.task.lr / 30}),
        Fault(
            'warmup-by-epoch',
            'recipe',
            'a warm-up of 100 steps counts epochs',
            {'warmup-per-epoch', 'warmup-too-long'},
            POOR,
            lambda s: {'warmup_steps': 100, 'faults': ('warmup_by_epoch',)},
        ),
        Fault(
            'warmup-beyond-end',
            'recipe',
            'a warm-up twenty times as long as the training',
            {'warmup-too-long'},
            POOR,
            lambda s: {'warmup_steps': 20 * s.task.epochs * s.steps_an_epoch},
        ),
        Fault(
            'three-epochs', 'recipe', 'three epochs', {'underfitting', 'too-few-epochs'}, POOR, lambda s: {'epochs': 3}
        ),
        Fault(
            'impatient',
            'recipe',
            'early stopping after one epoch without a large gain',
            {'underfitting', 'stopped-early', 'too-few-epochs'},
            POOR,
            lambda s: {'patience': 1, 'min_delta': _delta(s)},
        ),
        Fault(
            'too-many-epochs',
            'recipe',
            'four times the epochs at a constant rate without early stopping; the last are kept',
            LONG,
            {'best-inside-noise', 'erratic-validation'},
            lambda s: {'epochs': 4 * s.task.epochs, 'patience': 0, 'keep': 'last', 'schedule': 'constant'},
        ),
        Fault(
            'no-early-stopping',
            'recipe',
            'a sixth of the items, no weight decay, three times the epochs, no early stopping',
            LONG,
            POOR | {'best-inside-noise', 'erratic-validation'},
            lambda s: {
                'epochs': 3 * s.task.epochs,
                'patience': 0,
                'keep': 'last',
                'schedule': 'constant',
                'optimizer': {'kind': 'adamw', 'weight_decay': 0.0},
            },
            {'train_share': 0.16},
        ),
        Fault(
            'batch-of-two',
            'recipe',
            'batches of two items, the fewest that batch norm bears',
            HOT | {'batch-too-small'},
            POOR,
            lambda s: {'batch_size': 2, 'epochs': s.task.epochs // 2},
        ),
        Fault(
            'one-step-an-epoch',
            'recipe',
            'all items in one batch',
            COLD | {'batch-too-large', 'too-few-epochs', 'warmup-too-long'},
            POOR,
            lambda s: {'batch_size': 10_000},
        ),
        Fault(
            'decay-too-strong',
            'recipe',
            'weight decay of 30',
            COLD | {'decay-too-strong'},
            POOR,
            lambda s: {'optimizer': {'kind': 'adamw', 'weight_decay': 30.0}},
        ),
        Fault(
            'sgd-unclipped',
            'recipe',
            'plain SGD at a rate of 1 without clipping',
            HOT,
            POOR,
            lambda s: {'lr': 1.0, 'clip_norm': 0.0, 'optimizer': {'kind': 'sgd'}},
        ),
        Fault(
            'rate-of-parent',
            'recipe',
            "a resume restores the parent's rate, thirty times its own",
            {'rate-restored', 'rate-unlike-recipe', 'resume-drops', 'rate-raised'},
            POOR | HOT | RESUME,
            lambda s: {'optimizer_state': 'kept', 'faults': ('rate_of_parent',), 'lr': s.task.lr / 30},
            resumed=True,
            harmful=True,
        ),
        Fault(
            'fine-tuned-too-hot',
            'recipe',
            'fine-tuning at a hundred times its rate',
            HOT | RESUME | {'rate-rises', 'rate-raised'},
            POOR,
            lambda s: {'lr': s.task.lr * 30},
            resumed=True,
        ),
        # --- items
        Fault(
            'labels-noisy',
            'items',
            'labels of 40 % of the training items exchanged',
            {'label-noise'},
            POOR | {'overfitting', 'erratic-validation', 'validation-better'},
            items=_permuted(0.4),
            traceless=True,
        ),
        Fault(
            'labels-permuted',
            'items',
            'labels of all training items exchanged',
            USELESS | {'label-noise', 'labels-unrelated'},
            POOR | {'overfitting', 'erratic-validation'},
            items=_permuted(1.0),
        ),
        Fault(
            'class-dropped',
            'items',
            'no training item of one class, or of the highest values',
            {'class-missing', 'class-never-right', 'target-shift', 'class-collapse'},
            POOR | {'overfitting', 'input-shift'},
            items=_parts(_class_dropped, 'train'),
            traceless=True,
        ),
        Fault(
            'overlap',
            'items',
            'validation and test items are trained on as well',
            {'shared-groups', 'shared-items', 'validation-better', 'splits-alike'},
            items=_overlap,
            patch=_check_nothing,
            harmful=True,
            guard='fit refuses recordings that stand in two splits',
        ),
        Fault(
            'target-leaks',
            'items',
            'an input, or a corner of each picture, is the target',
            {'target-among-inputs', 'validation-better', 'too-good'},
            {'plateau', 'wasted-epochs'},
            items=_parts(_leak, 'train', 'validation', 'test'),
            harmful=True,
            traceless=True,
        ),
        Fault(
            'normalised-otherwise',
            'items',
            'validation and test inputs have another mean and spread',
            {'input-shift', 'validation-apart'},
            POOR | {'overfitting', 'erratic-validation'},
            items=_parts(lambda items, rng, study: replace(items, x=items.x * 2.5 + 1.5), 'validation', 'test'),
        ),
        Fault(
            'augmentation-destroys',
            'items',
            'training inputs wrapped through 8 bits',
            {'augmentation-destroys', 'validation-apart'},
            POOR | {'overfitting', 'erratic-validation'},
            patch=_destroyed,
        ),
        Fault(
            'validation-augmented',
            'items',
            'validation inputs moved and made noisy at random',
            {'augmented-validation'},
            POOR | {'erratic-validation', 'best-inside-noise', 'input-shift', 'validation-apart'},
            patch=_validation_changed,
            harmful=True,
        ),
        Fault(
            'too-little-data',
            'items',
            '5 % of the training items',
            {'overfitting', 'too-few-items', 'too-little-data'},
            POOR | {'input-shift', 'target-shift', 'erratic-validation', 'warmup-too-long'},
            data={'train_share': 0.05},
        ),
        Fault(
            'balanced-twice',
            'items',
            'rare classes drawn more often and weighed more as well',
            {'balanced-twice'},
            POOR | {'erratic-validation', 'target-shift', 'input-shift'},
            data={'sampler': 'balanced', 'class_weights': 'inverse'},
            items=_parts(_rare, 'train'),
            kinds=('class',),
            traceless=True,
        ),
        Fault(
            'few-validate',
            'items',
            'six items choose among forty epochs at a constant rate',
            {'too-few-items', 'best-inside-noise', 'erratic-validation'},
            {'wasted-epochs', 'no-early-stop', 'overfitting', 'plateau', 'input-shift', 'target-shift'},
            lambda s: {'epochs': 2 * s.task.epochs, 'patience': 0, 'schedule': 'constant'},
            {'validation_items': 6},
            harmful=True,
        ),
        Fault(
            'not-shuffled',
            'items',
            'items sorted by target and never shuffled',
            {'not-shuffled', 'sorted-batches'},
            POOR | HOT,
            items=_parts(_sorted, 'train'),
            patch=_not_shuffled,
        ),
        # --- training
        Fault(
            'loss-negated',
            'training',
            'the loss has the wrong sign',
            {'loss-negative', 'loss-sign', 'divergence', 'not-finite'},
            POOR | HOT | {'overfitting'},
            patch=_loss(lambda own, predicted, y, study: -own(predicted, y)),
        ),
        Fault(
            'loss-tiny',
            'training',
            'the loss is multiplied by a billionth',
            COLD | {'loss-scale'},
            POOR,
            patch=_loss(lambda own, predicted, y, study: 1e-9 * own(predicted, y)),
        ),
        Fault(
            'wrong-output',
            'training',
            'a softmax too many, or each prediction held against each target',
            {'no-learning', 'no-better-than-baseline', 'worse-than-baseline', 'loss-floor', 'output-wrong'},
            POOR | LONG,
            patch=_loss(_wrong_output),
        ),
        Fault(
            'saturated',
            'training',
            'sigmoids at their ends in place of normalised ReLUs',
            {'saturated-units', 'vanishing-gradients', 'no-learning'},
            POOR,
            patch=_network(_saturate),
        ),
        Fault(
            'dead-units',
            'training',
            'nearly all ReLUs begin dead',
            {'dead-units', 'no-learning'},
            POOR,
            patch=_network(_kill),
        ),
        Fault(
            'dropout-too-high',
            'training',
            'most activations are dropped',
            {'underfitting', 'no-learning', 'validation-better', 'dropout-too-high'},
            POOR,
            patch=_network(_drop),
        ),
        Fault(
            'batchnorm-statistics',
            'training',
            'batch norm counts nothing along, so validation is normalised otherwise',
            {'batchnorm-statistics', 'validation-apart'},
            POOR | {'overfitting', 'erratic-validation'},
            patch=_network(_still_statistics),
        ),
        Fault(
            'weights-zero',
            'training',
            'all weights begin at zero, without batch norm',
            {'no-learning', 'gradient-zero', 'dead-units', 'trained-unchanged'},
            POOR,
            patch=_network(_zero),
        ),
        Fault(
            'nan-later',
            'training',
            'inputs become NaN after a third',
            {'not-finite'},
            POOR,
            patch=_nan_later,
            harmful=True,
        ),
        Fault(
            'trains-copies',
            'training',
            'the optimiser holds copies of the weights',
            {'trained-unchanged', 'no-learning', 'constant-metric'},
            POOR | {'plateau'},
            training=lambda: _learner(_train_copies),
        ),
        Fault(
            'frozen-trains',
            'training',
            'the stem is frozen, but the optimiser moves it',
            {'frozen-changed'},
            stage=lambda s: {'freeze': ('stem',)},
            training=lambda: _learner(_train_frozen),
            resumed=True,
            harmful=True,
            traceless=True,
            guard='fit refuses a stage whose frozen tensors moved',
        ),
        Fault(
            'schedule-restarted',
            'training',
            'the schedule begins anew after 70 % of the training, which ends at a high rate',
            {'rate-restarted', 'rate-raised', 'restart-too-large', 'rate-unlike-recipe'},
            POOR | HOT,
            lambda s: {'keep': 'last', 'patience': 0},
            training=_restarted,
        ),
        Fault(
            'metric-upside-down',
            'training',
            'the worst epoch is taken for the best',
            {'metric-direction', 'worse-than-baseline', 'negative-r2'},
            POOR | {'overfitting', 'no-better-than-baseline'},
            patch=_upside_down,
            harmful=True,
            traceless=True,
        ),
        Fault(
            'resumed-on-other-inputs',
            'training',
            'a resumed run is fed inputs of another mean and spread',
            {'resume-drops', 'worse-than-start', 'inputs-unlike-parent', 'resumed-worse'},
            POOR | {'erratic-validation'},
            items=_parts(
                lambda items, rng, study: replace(items, x=items.x * 2.5 + 1.5), 'train', 'validation', 'test'
            ),
            training=_any_start,
            resumed=True,
            guard='fit refuses weights that do not score what their run says',
        ),
    )
}


def _half(items: dict) -> set:  # names
    "Every second one, in the order of their kinds and of the hashes of their names, which nobody chose"
    order = sorted(items, key=lambda name: (items[name].kind, hashlib.sha256(name.encode()).hexdigest()))
    return set(order[::2])


def part_of(task: str, fault: str) -> str:  # `tune`, `held`, or `crossed` where only one of the two is held out
    "To which part of the benchmark a case belongs"
    return ('held', 'crossed', 'tune')[(fault in _half(FAULTS)) + (task in _half(TASKS))]


def around(fault: Fault | None):
    "The context in which it trains"
    return fault.training() if fault and fault.training else nullcontext()

"""Faults that `benchmarks/diagnosis.py` puts into healthy trainings, each with the findings that would name it

In the manner of DeepCrime's mutation operators, and of the faults that hrft was made against. A fault changes the
recipe, the items, or the training itself. `right` are the codes of findings that name the cause or its remedy, `also`
those that are true of the training as well; both were written down before any case was diagnosed, and codes that are
newer were added by what they mean. What hrft refuses is done around its guard, and `guard` says which.
"""

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from . import spoil
from .tasks import TASKS, TaskStudy

# families of codes: what a finding says is wrong, or would have to be changed
HOT = {'divergence', 'not-finite', 'erratic-validation', 'rate-too-high', 'exploding-gradients', 'update-too-large'}
COLD = {'underfitting', 'no-learning', 'rate-too-low', 'update-too-small', 'vanishing-gradients', 'slow-start'}
LONG = {'overfitting', 'wasted-epochs', 'no-early-stop', 'plateau'}
USELESS = {'no-learning', 'no-better-than-baseline', 'worse-than-baseline', 'negative-r2', 'constant-metric'}
RESUME = {'resume-drops', 'worse-than-start', 'stage-hurt', 'resumed-unlike-parent'}
POOR = USELESS | {
    'class-collapse',
    'class-missing',
    'class-degraded',
    'level-missed',
    'stage-hurt',
}  # what comes of much
SLOW = POOR | COLD
APART = POOR | {'overfitting', 'erratic-validation', 'validation-apart'}  # of training and validation that differ


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


FAULTS = {
    fault.name: fault
    for fault in (
        # --- recipe
        Fault(
            'rate-x10',
            'recipe',
            'ten times the learning rate, which never falls; the last epoch is kept',
            HOT,
            POOR,
            lambda s: {'lr': s.task.lr * 10, 'schedule': 'constant', 'patience': 0, 'keep': 'last'},
        ),
        Fault('rate-x100', 'recipe', 'learning rate times 100', HOT, POOR, lambda s: {'lr': s.task.lr * 100}),
        Fault('rate-30th', 'recipe', 'a thirtieth of the learning rate', COLD, SLOW, lambda s: {'lr': s.task.lr / 30}),
        Fault(
            'warmup-by-epoch',
            'recipe',
            'a warm-up of 100 steps counts epochs',
            {'warmup-per-epoch', 'warmup-too-long'},
            SLOW,
            lambda s: {'warmup_steps': 100, 'faults': ('warmup_by_epoch',)},
        ),
        Fault(
            'warmup-beyond-end',
            'recipe',
            'a warm-up twenty times as long as the training',
            {'warmup-too-long'},
            SLOW,
            lambda s: {'warmup_steps': 20 * s.task.epochs * s.steps_an_epoch},
        ),
        Fault(
            'three-epochs', 'recipe', 'three epochs', {'underfitting', 'too-few-epochs'}, SLOW, lambda s: {'epochs': 3}
        ),
        Fault(
            'impatient',
            'recipe',
            'early stopping after one epoch without a large gain',
            {'underfitting', 'stopped-early', 'too-few-epochs'},
            SLOW,
            lambda s: {'patience': 1, 'min_delta': s.large_gain},
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
            APART | {'best-inside-noise'},
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
            SLOW,
            lambda s: {'batch_size': 10_000},
        ),
        Fault(
            'decay-too-strong',
            'recipe',
            'weight decay of 30',
            COLD | {'decay-too-strong'},
            SLOW,
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
            {'rate-restored', 'rate-unlike-recipe', 'resume-drops', 'rate-raised', 'group-rate-unlike-plan'},
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
            APART,
            items=spoil.permuted(0.4),
            traceless=True,
        ),
        Fault(
            'labels-permuted',
            'items',
            'labels of all training items exchanged',
            USELESS | {'label-noise', 'labels-unrelated'},
            APART,
            items=spoil.permuted(1.0),
        ),
        Fault(
            'class-dropped',
            'items',
            'no training item of one class, or of the highest values',
            {'class-missing', 'class-never-right', 'target-shift', 'class-collapse'},
            APART | {'input-shift'},
            items=spoil.parts(spoil.without_class, 'train'),
            traceless=True,
        ),
        Fault(
            'overlap',
            'items',
            'validation and test items are trained on as well',
            {'shared-groups', 'shared-items', 'validation-better', 'splits-alike'},
            items=spoil.overlapping,
            patch=spoil.check_nothing,
            harmful=True,
            guard='fit refuses recordings that stand in two splits',
        ),
        Fault(
            'target-leaks',
            'items',
            'an input, or a corner of each picture, is the target',
            {'target-among-inputs', 'validation-better', 'splits-alike'},
            {'plateau', 'wasted-epochs'},
            items=spoil.parts(spoil.leaking, 'train', 'validation', 'test'),
            harmful=True,
            traceless=True,
        ),
        Fault(
            'normalised-otherwise',
            'items',
            'validation and test inputs have another mean and spread',
            {'input-shift', 'validation-apart'},
            APART,
            items=spoil.parts(spoil.rescaled, 'validation', 'test'),
        ),
        Fault(
            'augmentation-destroys',
            'items',
            'training inputs wrapped through 8 bits',
            {'augmentation-destroys', 'validation-apart'},
            APART,
            patch=spoil.destroyed,
        ),
        Fault(
            'validation-augmented',
            'items',
            'validation inputs moved and made noisy at random',
            {'augmented-validation'},
            APART | {'best-inside-noise', 'input-shift'},
            patch=spoil.validation_changed,
            harmful=True,
        ),
        Fault(
            'too-little-data',
            'items',
            '5 % of the training items',
            {'overfitting', 'too-few-items', 'too-little-data'},
            APART | {'input-shift', 'target-shift', 'warmup-too-long'},
            data={'train_share': 0.05},
        ),
        Fault(
            'balanced-twice',
            'items',
            'rare classes drawn more often and weighed more as well',
            {'balanced-twice'},
            APART | {'target-shift', 'input-shift'},
            data={'sampler': 'balanced', 'class_weights': 'inverse'},
            items=spoil.parts(spoil.imbalanced, 'train'),
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
            APART | HOT,
            items=spoil.parts(spoil.in_order, 'train'),
            patch=spoil.not_shuffled,
        ),
        # --- training
        Fault(
            'loss-negated',
            'training',
            'the loss has the wrong sign',
            {'loss-negative', 'loss-sign', 'divergence', 'not-finite'},
            APART | HOT,
            patch=spoil.loss(lambda own, predicted, y, study: -own(predicted, y)),
        ),
        Fault(
            'loss-tiny',
            'training',
            'the loss is multiplied by a billionth',
            COLD | {'loss-scale'},
            SLOW,
            patch=spoil.loss(lambda own, predicted, y, study: 1e-9 * own(predicted, y)),
        ),
        Fault(
            'wrong-output',
            'training',
            'a softmax too many, or each prediction held against each target',
            {'no-learning', 'no-better-than-baseline', 'worse-than-baseline', 'loss-floor', 'output-wrong'},
            SLOW | LONG,
            patch=spoil.loss(spoil.wrong_output),
        ),
        Fault(
            'saturated',
            'training',
            'sigmoids at their ends in place of normalised ReLUs',
            {'saturated-activations', 'vanishing-gradients', 'no-learning'},
            SLOW,
            patch=spoil.network(spoil.saturate),
        ),
        Fault(
            'dead-units',
            'training',
            '19 of 20 ReLUs begin dead',
            {'dead-units', 'no-learning'},
            SLOW,
            patch=spoil.network(spoil.kill),
        ),
        Fault(
            'dropout-too-high',
            'training',
            'most activations are dropped',
            {'underfitting', 'no-learning', 'validation-better', 'dropout-too-high'},
            SLOW,
            patch=spoil.network(spoil.drop),
        ),
        Fault(
            'batchnorm-statistics',
            'training',
            'batch norm counts nothing along, so validation is normalised otherwise',
            {'batchnorm-statistics', 'validation-apart'},
            APART,
            patch=spoil.network(spoil.still_statistics),
        ),
        Fault(
            'weights-zero',
            'training',
            'all weights begin at zero, without batch norm',
            {'no-learning', 'gradient-zero', 'dead-units', 'trained-unchanged', 'trained-stays'},
            SLOW,
            patch=spoil.network(spoil.zero),
        ),
        Fault(
            'nan-later',
            'training',
            'inputs become NaN after a third',
            {'not-finite'},
            POOR,
            patch=spoil.nan_later,
            harmful=True,
        ),
        Fault(
            'trains-copies',
            'training',
            'the optimiser holds copies of the weights',
            {'trained-unchanged', 'trained-stays', 'gradient-zero', 'no-learning', 'constant-metric'},
            SLOW | {'plateau'},
            training=lambda: spoil.learner(spoil.train_copies),
        ),
        Fault(
            'frozen-trains',
            'training',
            'the stem is frozen, but the optimiser moves it',
            {'frozen-changed', 'frozen-moved'},
            stage=lambda s: {'freeze': ('stem',)},
            training=lambda: spoil.learner(spoil.train_frozen),
            resumed=True,
            harmful=True,
            traceless=True,
            guard='fit refuses a stage whose frozen tensors moved',
        ),
        Fault(
            'schedule-restarted',
            'training',
            'the schedule begins anew after 90 % of the training, which ends at a high rate',
            {'rate-restarted', 'rate-raised', 'restart-too-large', 'rate-unlike-recipe'},
            POOR | HOT,
            lambda s: {'keep': 'last', 'patience': 0},
            training=spoil.restarted,
        ),
        Fault(
            'metric-upside-down',
            'training',
            'the worst epoch is taken for the best',
            {'metric-direction', 'worse-than-baseline', 'negative-r2'},
            APART,
            patch=spoil.upside_down,
            harmful=True,
            traceless=True,
        ),
        Fault(
            'resumed-on-other-inputs',
            'training',
            'a short resumed run is fed inputs of another mean and spread',
            {'resume-drops', 'worse-than-start', 'inputs-unlike-parent', 'resumed-unlike-parent'},
            APART,
            stage=lambda s: {'epochs': 3},
            items=spoil.parts(spoil.rescaled, 'train', 'validation', 'test'),
            training=spoil.any_start,
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

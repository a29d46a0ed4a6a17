"""How `faults.py` spoils a training: its items, its study's methods, or what goes on inside of `fit`"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from torch import nn

from hrft import callbacks, train
from hrft.faces.readers import CLASSES

from .tasks import Items, Loader


def rescaled(items, rng, study):
    return replace(items, x=items.x * 2.5 + 1.5)


def parts(change: Callable, *splits: str) -> Callable:
    "The same change of several splits"
    return lambda parts, rng, study: parts | {split: change(parts[split], rng, study) for split in splits}


# --- items
def permuted(share):
    def change(items, rng, study):
        chosen = np.flatnonzero(rng.random(len(items)) < share)
        y = items.y.clone()
        y[chosen] = items.y[rng.permutation(chosen)]
        return replace(items, y=y)

    return parts(change, 'train')


def without_class(items, rng, study):
    if study.task.kind == 'pixels':
        return replace(items, y=items.y.masked_fill(items.y == CLASSES.index('hair'), 0))
    kept = items.y != 1 if study.task.kind == 'class' else items.target_mean() < items.target_mean().quantile(0.6)
    return items.take(np.flatnonzero(kept.numpy()))


def overlapping(parts, rng, study):
    every = [parts[split] for split in ('train', 'validation', 'test')]
    joined = [torch.cat([getattr(items, key) for items in every]) for key in ('x', 'y')]
    names = [np.concatenate([getattr(items, key) for items in every]) for key in ('group', 'name')]
    return parts | {'train': Items(*joined, *names)}


def leaking(items, rng, study):
    x, y = (
        items.x.clone(),
        (items.y - study.level[0]) / study.level[1] if study.task.kind == 'number' else items.y.float(),
    )
    if study.task.kind == 'class' and x.ndim > 2:
        x[..., 0, 0] = y[:, None]
    else:
        x[:, -1] = y if x.ndim == y.ndim + 1 else y[(..., *(None,) * (x.ndim - 1 - y.ndim))]
    return replace(items, x=x)


def in_order(items, rng, study):
    return items.take(np.argsort(items.target_mean().numpy(), kind='stable'))


def imbalanced(items, rng, study):
    "Every second class loses seven of eight items"
    common = items.y.numpy() % 2 == 0
    return items.take(np.flatnonzero(common | (rng.random(len(items)) < 1 / 8)))


def wrapped(x):
    "Normalised floats through 8 bits"
    return (x * 255 % 256 / 255 - 0.5) * 3.5


# --- patches of the study
def check_nothing(study):
    study.check_splits = lambda data, known: None


def validation_changed(study):
    plain, rng = study.batches, torch.Generator().manual_seed(0)

    def noisy(x):
        return x.roll(int(torch.randint(-2, 3, (), generator=rng)), -1) + torch.randn(x.shape, generator=rng)

    def batches(data, split):
        return Loader(data.parts[split], 256, change=noisy) if split == 'validation' else plain(data, split)

    study.batches = batches


def not_shuffled(study):
    study.shuffle = False


def destroyed(study):
    study.change_train = wrapped


def upside_down(study):
    first, *others = study.scoring.metrics
    study.scoring = replace(study.scoring, metrics=(replace(first, lower_is_better=not first.lower_is_better), *others))


def loss(change: Callable) -> Callable:
    "A study whose loss is changed"

    def patch(study):
        plain = study.loss

        def loss_of(recipe, data):
            own = plain(recipe, data)
            return lambda predicted, y: change(own, predicted, y, study)

        study.loss = loss_of

    return patch


def wrong_output(own, predicted, y, study):
    "A softmax too many, or a difference of everything with everything"
    if study.task.kind != 'number':
        return own(predicted.softmax(1), y)
    return ((predicted[:, None] - y[None]) / study.level[1]).pow(2).mean()


def network(change: Callable) -> Callable:
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


def saturate(part, i, module):
    if isinstance(module, nn.ReLU):
        part[i] = nn.Sigmoid()
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        part[i] = nn.Identity()
    if i == 0:
        module.weight.mul_(40)


def kill(part, i, module):
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.bias[: int(0.95 * len(module.bias))] = -12


def drop(part, i, module):
    if isinstance(module, nn.Dropout):
        module.p = 0.95
    if isinstance(module, nn.ReLU):
        part[i] = nn.Sequential(module, nn.Dropout(0.8))


def still_statistics(part, i, module):
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.momentum = 0.0


def zero(part, i, module):
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        part[i] = nn.Identity()
    for p in module.parameters():
        p.zero_()


def nan_later(study):
    "An input becomes NaN after a third of the training"
    seen = {'batches': 0}

    def change(x):
        seen['batches'] += 1
        late = seen['batches'] > study.steps_an_epoch * study.task.epochs / 3
        return x * float('nan') if late else x

    study.change_train, study.inspect = change, lambda recipe, data: []


# --- contexts around the training
@contextmanager
def learner(change: Callable) -> Iterator[None]:
    "Learners are changed before they train; that frozen tensors moved is logged, but stops nothing"
    plain = train._learner

    def changed(training, model, ready):
        learn = plain(training, model, ready)
        change(learn, model, ready)
        return learn

    with (
        mock.patch.object(train, '_learner', changed),
        mock.patch.object(train, '_check_frozen', lambda stage, watch: None),
        mock.patch.object(callbacks.StageCallback, 'after_train', lambda self: self._read()),
    ):
        yield


def train_frozen(learn, model, ready):
    for name in ready.stage.freeze:
        for p in ready.groups[name]:
            p.requires_grad_(True)
            learn.opt.opt.param_groups[-1]['params'].append(p)


def train_copies(learn, model, ready):
    for group in learn.opt.opt.param_groups:
        group['params'] = [p.detach().clone().requires_grad_() for p in group['params']]


@contextmanager
def restarted() -> Iterator[None]:
    "The schedule begins anew after 90 % of the training, which ends in the middle of it"
    plain = callbacks.lr_at

    def lr_at(stage, step, steps_per_epoch):
        first = int(0.9 * stage.epochs) * steps_per_epoch
        return plain(stage, step if step <= first else step - first, steps_per_epoch)

    with mock.patch.object(callbacks, 'lr_at', lr_at):
        yield


def any_start():
    return mock.patch.object(train, 'check_resumed', lambda study, stage, predictions: None)

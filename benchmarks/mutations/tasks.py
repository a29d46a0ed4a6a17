"""Six small real tasks for `benchmarks/diagnosis.py`: data, a network and a study that `hrft.train.fit` trains

Hearts, faces and lips are simulated by hrft itself, digits, diabetes and breast cancer come with scikit-learn. Each
trains in a second or two, is split by whoever the items are of, and has a naive baseline. What a study looks for in its
own pipeline before the first step is what the studies that come with hrft look for, with the same functions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from pydantic import Field
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from torch import nn

from hrft.core import digest
from hrft.evaluate import SHARE, Metric, Scoring, regression_metrics
from hrft.faces.metrics import SCORING, overlap_table
from hrft.faces.readers import CLASSES
from hrft.faces.simulate import draw_face
from hrft.heart.simulate.runners import Runner, simulate_workout
from hrft.lips.simulate import Speaker, draw_clip
from hrft.logs.inputs import (
    augmented_validation,
    destroying_augmentation,
    distribution_shift,
    judged_by_stopping_set,
    shared_groups,
    target_among_inputs,
)
from hrft.recipe import AdamW, Cosine, Options, Recipe, Stage
from hrft.study import Study

SPLITS = ('train', 'validation', 'test')


@dataclass(frozen=True)
class Items:
    "Inputs, targets, and whom they are of"

    x: torch.Tensor  # `(N, ...)`
    y: torch.Tensor  # `(N,)`, `(N, T)` or `(N, H, W)`
    group: np.ndarray  # person, face or row, `(N,)`
    name: np.ndarray  # `(N,)`

    def __len__(self):
        return len(self.y)

    def target_mean(self) -> torch.Tensor:  # `(N,)`
        "One number an item: its class, its value, or its mean"
        return self.y.double().flatten(1).mean(1) if self.y.ndim > 1 else self.y.double()

    def take(self, chosen) -> 'Items':
        "Some of them"
        return Items(self.x[chosen], self.y[chosen], self.group[chosen], self.name[chosen])


def _items(x, y, group=None):
    "Arrays as items"
    x, y, name = np.asarray(x, 'float32'), np.asarray(y), np.array([f'{i:04}' for i in range(len(y))])
    kind = torch.float32 if y.dtype.kind == 'f' else torch.long
    return Items(torch.tensor(x), torch.tensor(y, dtype=kind), name if group is None else group, name)


def heart() -> Items:
    "Speed, grade, power, time and an earlier workout's mean -> heart rate, every 15 s of 10 minutes"
    rng, x, y, people = np.random.default_rng(1), [], [], []
    for i in range(100):
        runner = Runner.sample(rng, f'{i:03}')
        workouts = [simulate_workout(runner, 30.0 * day, rng)[:600] for day in range(4)]
        earlier = workouts[0].true_heart_rate_bpm.mean()
        for points in workouts[1:]:
            part = points[::15]
            power = points.power_w_kg.ewm(halflife=30).mean()[::15]
            columns = part.speed_m_s, part.grade, part.power_w_kg, power, part.time_s, 0 * part.time_s + earlier
            x.append(np.stack(columns))
            y.append(part.true_heart_rate_bpm.to_numpy('float32'))
            people.append(f'{i:03}')
    return _items(x, np.stack(y), np.array(people))


def faces() -> Items:
    "A drawn face of 24 pixels -> the class of each pixel"
    drawn = [draw_face(np.random.default_rng([7, i]), 24) for i in range(240)]
    return _items(
        np.stack([p for p, _ in drawn]).transpose(0, 3, 1, 2) / 255, np.stack([m for _, m in drawn]).astype(int)
    )


def lips() -> Items:
    "A drawn mouth in ten frames, less its mean -> one of four words"
    rng, x, y, people = np.random.default_rng(2), [], [], []
    for i in range(60):
        speaker = Speaker.sample(rng)
        for k, word in enumerate(('open', 'round', 'twice', 'wide') * 2):
            clip = draw_clip(speaker, word, rng, (10, 16, 24)) / 60
            x.append(clip - clip.mean(0))
            y.append(k % 4)
            people.append(f'{i:02}')
    return _items(np.stack(x), np.array(y), np.array(people))


def digits() -> Items:
    "A picture of 8 by 8 pixels -> which of ten digits"
    known = load_digits()
    return _items(known.images[:1100, None] / 16, known.target[:1100])


def diabetes() -> Items:
    "Ten measurements -> progression after a year"
    known = load_diabetes()
    return _items(known.data, known.target.astype('float32'))


def cancer() -> Items:
    "Thirty measurements of cells -> benign or not"
    known = load_breast_cancer()
    return _items(known.data, known.target)


class Net(nn.Module):
    "Stem, body and head; a number comes out in the target's unit"

    def __init__(self, stem, body, head, level=(0.0, 1.0)):
        super().__init__()
        self.stem, self.body, self.head, self.level = stem, body, head, level

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.head(self.body(self.stem(x)))
        return out.squeeze(1) * self.level[1] + self.level[0] if self.level != (0.0, 1.0) else out


def _table_net(n_in, n_out, level):
    return Net(
        nn.Sequential(nn.Linear(n_in, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1)),
        nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1)),
        nn.Linear(8, n_out),
        level,
    )


def _picture_net(n_in, n_out, level):
    return Net(
        nn.Sequential(nn.Conv2d(n_in, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
        ),
        nn.Linear(128, n_out),
        level,
    )


def _series_net(n_in, n_out, level):
    return Net(
        nn.Sequential(nn.Conv1d(n_in, 12, 5, padding=2), nn.BatchNorm1d(12), nn.ReLU()),
        nn.Sequential(nn.Conv1d(12, 12, 5, padding=4, dilation=2), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2)),
        nn.Conv1d(12, n_out, 1),
        level,
    )


def _mask_net(n_in, n_out, level):
    return Net(
        nn.Sequential(nn.Conv2d(n_in, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        nn.Sequential(
            nn.Conv2d(16, 32, 3, 2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=4, dilation=4),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
        ),
        nn.Conv2d(32, n_out, 1),
        level,
    )


@dataclass(frozen=True)
class Task:
    "Data and how they are learned"

    name: str
    items: Callable[[], Items]
    net: Callable  # inputs, outputs and level -> `Net`
    outputs: int  # classes; 1 of a number
    unit: str = ''  # of a number
    lr: float = 3e-3
    epochs: int = 20
    batch_size: int = 32

    @property
    def kind(self) -> str:
        return 'number' if self.outputs == 1 else 'pixels' if self.outputs == len(CLASSES) else 'class'

    def recipe(self, seed: int, stage: dict, data: dict) -> 'TaskRecipe':
        "A recipe that trains it well; keys of its stage and data change that"
        plan = dict(
            name='train',
            epochs=self.epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            optimizer=AdamW(weight_decay=0.01),
            schedule=Cosine(),
            warmup_steps=10,
            patience=8,
        )
        stages = (Stage(**plan | stage),)
        return TaskRecipe(study=f'small-{self.name}', name='small', seed=seed, stages=stages, data=TaskData(**data))


TASKS = {
    task.name: task
    for task in (
        Task('heart', heart, _series_net, 1, 'bpm', lr=3e-3, batch_size=16),
        Task('faces', faces, _mask_net, len(CLASSES), lr=1e-2, batch_size=6),
        Task('lips', lips, _picture_net, 4, lr=1e-2),
        Task('digits', digits, _picture_net, 10, lr=1e-2),
        Task('diabetes', diabetes, _table_net, 1, 'points', lr=3e-3),
        Task('cancer', cancer, _table_net, 2, lr=3e-3),
    )
}


class TaskData(Options):
    "How much is trained on, and how classes are balanced"

    train_share: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the training items
    validation_items: int = 0  # that choose the epoch; all where 0
    sampler: Literal['none', 'balanced'] = 'none'  # balanced draws the classes equally often
    class_weights: Literal['none', 'inverse'] = 'none'  # weigh the loss by 1/count of the class


class TaskRecipe(Recipe):
    "What decides a training on a small task"

    data: TaskData = TaskData()


@dataclass(frozen=True)
class Sets:
    "Items of three splits, normalised by train"

    parts: dict[str, Items]
    normalisation: dict  # mean and sd of the inputs, and of a number
    digest: str
    options: TaskData


@cache
def _split(name: str) -> tuple:  # Items of train, validation and test: 60, 20 and 20 % of whoever they are of
    "A task's items, parted by group"
    items = TASKS[name].items()
    groups = np.random.default_rng(0).permutation(np.unique(items.group))
    parts = np.split(groups, [int(0.6 * len(groups)), int(0.8 * len(groups))])
    return tuple(items.take(np.flatnonzero(np.isin(items.group, part))) for part in parts)


class Loader(DataLoader):
    "Batches of items, changed on the way where a function does so"

    def __init__(self, items: Items, size: int, shuffle: bool = False, change=None, weights=None):
        self.items, self.change, self.weights = items, change, weights
        super().__init__(
            dataset=range(len(items)),
            bs=size,
            shuffle=shuffle,
            drop_last=shuffle and len(items) > size,
            num_workers=0,
            create_batch=self.batch,
        )

    def get_idxs(self):
        if self.weights is None:
            return super().get_idxs()
        return self.rng.choices(range(self.n), self.weights, k=self.n)

    def batch(self, chosen: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        "Some items"
        x = self.items.x[chosen]
        return (self.change(x) if self.change else x), self.items.y[chosen]


def _right(predictions, scoring):
    "Sums of an accuracy"
    right = (predictions.measured == predictions.predicted).to_numpy(float)
    return pd.DataFrame({'n': 1.0, 'right': right}, index=pd.Index(predictions['item'])).sort_index()


ACCURACY = Metric('accuracy', lambda sums: sums['right'] / sums['n'], lower_is_better=False, bounds=SHARE)


class TaskStudy(Study[TaskRecipe, Sets]):
    "One task; a fault replaces what it spoils"

    recipe_type = TaskRecipe
    change_train = None  # what happens to a batch of training inputs on the way
    shuffle = True
    level = (0.0, 1.0)  # mean and sd of a number, once the data are open

    def __init__(self, task: Task):
        self.task, self.name = task, f'small-{task.name}'
        self.scoring = {
            'class': Scoring('item', 'measured', 'predicted', (ACCURACY,), _right),
            'pixels': SCORING,
            'number': Scoring('item', 'measured', 'predicted', regression_metrics(task.unit)),
        }[task.kind]

    @property
    def steps_an_epoch(self) -> int:
        "Of the task's own recipe"
        return len(_split(self.task.name)[0]) // self.task.batch_size

    @property
    def large_gain(self) -> float:
        "A tenth of a share, or of a number's spread"
        return 0.1 * self.level[1] if self.task.kind == 'number' else 0.1

    @property
    def reference(self):
        return f'mutations.tasks:{self.task.name.upper()}'

    def arrange(self, parts: dict[str, Items]) -> dict[str, Items]:
        "What a fault makes of the normalised items"
        return parts

    def open(self, recipe, source, parent=None):
        parts, options = dict(zip(SPLITS, _split(self.task.name))), recipe.data
        order = np.random.default_rng(recipe.seed).permutation(len(parts['train']))
        parts['train'] = parts['train'].take(np.sort(order[: max(4, int(options.train_share * len(order)))]))
        if options.validation_items:
            parts['validation'] = parts['validation'].take(np.arange(options.validation_items))
        known = parent.normalisation if parent else self._moments(parts['train'])
        self.level, mean, sd = known['level'], *(torch.tensor(known[key]) for key in ('mean', 'sd'))
        parts = self.arrange({k: replace(items, x=(items.x - mean) / sd) for k, items in parts.items()})
        sums = [[float(items.x.double().sum()), float(items.y.double().sum())] for items in parts.values()]
        return Sets(parts, known, digest([self.name, sums]), options)

    def _moments(self, train):
        "Mean and sd of each input, of all pixels where a class has to be told, and of a number"
        together = self.task.kind == 'class' and train.x.ndim > 2
        axes = list(range(train.x.ndim)) if together else [0, *range(2, train.x.ndim)]
        mean, sd = (moment(axes, keepdim=True)[0].tolist() for moment in (train.x.mean, train.x.std))
        level = [float(train.y.mean()), float(train.y.std())] if self.task.kind == 'number' else [0.0, 1.0]
        return {'mean': mean, 'sd': sd, 'level': level}

    def build(self, recipe, facts):
        inputs = _split(self.task.name)[0].x.shape[1]
        return self.task.net(inputs, self.task.outputs, tuple(facts.normalisation['level']))

    def groups(self, model):
        return {name: list(getattr(model, name).parameters()) for name in ('stem', 'body', 'head')}

    def loaders(self, data, stage):
        train = data.parts['train']
        weights = None if data.options.sampler == 'none' else _inverse(train.y)[train.y].tolist()
        loader = Loader(train, stage.batch_size, self.shuffle, self.change_train, weights)
        return DataLoaders(loader, self.batches(data, 'validation'))

    def loss(self, recipe, data):
        if self.task.kind == 'number':
            sd = data.normalisation['level'][1]
            return lambda predicted, y: ((predicted - y) / sd).pow(2).mean()
        weights = None if data.options.class_weights == 'none' else _inverse(data.parts['train'].y)
        return nn.CrossEntropyLoss(weights)

    def weight(self, target):
        return target.numel()

    def fingerprints(self, data, split):
        return [digest([self.name, name]) for name in data.parts[split].name]

    def batches(self, data, split):
        return Loader(data.parts[split], 256)

    def output(self, model, predicted, *inputs):
        return predicted if self.task.kind == 'number' else predicted.argmax(1)

    def table(self, data, split, outputs):
        items, found = data.parts[split], torch.cat(outputs)
        if self.task.kind == 'pixels':
            return overlap_table(items.name, items.y.numpy(), found.numpy())
        each = int(np.prod(items.y.shape[1:]))
        measured, predicted = items.y.reshape(-1).numpy(), found.reshape(-1).numpy()
        if self.task.kind == 'class':
            measured, predicted = ([f'c{k}' for k in values] for values in (measured, predicted))
        return pd.DataFrame({'item': np.repeat(items.name, each), 'measured': measured, 'predicted': predicted})

    def baselines(self, data):
        y, test = data.parts['train'].y, data.parts['test'].y
        if self.task.kind == 'number':
            return {'mean': self.table(data, 'test', [torch.full(test.shape, float(y.mean()))])}
        commonest = y.mode(0).values
        return {'commonest class': self.table(data, 'test', [commonest.expand(test.shape).clone()])}

    def inspect(self, recipe, data):
        train, loaders = data.parts['train'], self.loaders(data, recipe.stages[0])
        again = [torch.cat([x for x, _ in loaders.valid]).numpy() for _ in range(2)]
        found = [
            shared_groups({split: items.group for split, items in data.parts.items()}),
            judged_by_stopping_set(*(self.fingerprints(data, split) for split in SPLITS[1:])),
            augmented_validation(*again),
        ]
        if self.change_train:
            found.append(destroying_augmentation(train.x[:16].numpy(), self.change_train(train.x[:16]).numpy()))
        shown = {split: _summary(items.x) for split, items in data.parts.items()}
        columns = {f'input {i}': {k: v[:, i] for k, v in shown.items()} for i in range(shown['train'].shape[1])}
        target = {split: items.target_mean().numpy() for split, items in data.parts.items()}
        found.append(target_among_inputs({k: v['train'] for k, v in columns.items()}, target['train']))
        shifts = distribution_shift(target, columns)
        shifts = [f for f in shifts if f.code != 'target-shift' or self.task.kind == 'number']
        return [f for f in found if f] + sorted(shifts, key=lambda f: -max(map(abs, f.evidence.values())))[:1]


def _summary(x):  # `(N, C)`
    "A table's columns, or the mean of each channel"
    return (x.flatten(2).mean(2) if x.ndim > 2 else x).numpy()


def _inverse(y):
    "Weights of classes by their rarity, with a mean of 1 over the items"
    n = torch.bincount(y.reshape(-1)).float()
    return n.sum() / (len(n) * n.clamp(min=1))


HEART, FACES, LIPS, DIGITS, DIABETES, CANCER = (TaskStudy(task) for task in TASKS.values())
STUDIES = {study.task.name: study for study in (HEART, FACES, LIPS, DIGITS, DIABETES, CANCER)}

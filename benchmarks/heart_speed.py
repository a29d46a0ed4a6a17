"""How much faster hrft gets to a usable model than a plain training loop

To a target on unseen people, by optimisation step, and to one person's own model.

    python benchmarks/heart_speed.py [STORE] [--target-bpm 10.5] [--cap-s 600] [--recipes heart/base heart/plain]
        [--person p01] [--parts steps target person] [--fast] [--json FILE]

The plain loop is an earlier project's: each run's first 500 steps, shorter ones padded with their last value and
masked, two LSTM layers of 64 units on three z-scored inputs, a head that starts at 0 bpm, MSE in bpm, Adam at 1e-3,
batches of 16 in any order. Its third input was the runner's sex, which a store does not have; it gets the time since
the start instead. It has the same grid, the same training and validation people and one thread, its arrays are ready
before its clock starts, and it goes on until its cap. Both are scored on all measured steps of the same validation runs
after each epoch. Times are training and validation; what hrft makes of the history beforehand is added to its own.
Reading the store, the same for both, is not counted, nor are the scores and intervals that hrft adds when training is
over.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from report import save
from torch import nn

from hrft.callbacks import Pruned
from hrft.core import set_seed
from hrft.heart.models.network import build, n_parameters, predict_items, step_loss
from hrft.heart.prepare.data import HeartItems, person_workouts, split_people, workout_loaders
from hrft.heart.study import STUDY, HeartRecipe, open_store, personalize
from hrft.recipe import read_recipe
from hrft.train import fit

N_STEPS, BATCH = 500, 16
PARTS = 'steps', 'target', 'person'
INPUTS = 'speed_m_s', 'altitude_m', 'elapsed_s'


class PlainNet(nn.Module):
    "Two LSTM layers and a head at zero, on z-scored inputs"

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(len(INPUTS), 64, 2, batch_first=True, dropout=0.2), nn.Linear(64, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x, lengths=None):
        return self.head(self.lstm(x)[0]).squeeze(-1)  # padding is masked in the loss


class PlainItems(HeartItems):
    "The same runs with three z-scored inputs"

    def __init__(self, items, mean=0.0, sd=1.0):
        super().__init__(items.workouts, [past[:1] for past in items.pasts], INPUTS)
        self.mean, self.sd = mean, sd

    def columns(self, i):
        return ((super().columns(i) - self.mean) / self.sd).astype(np.float32)


def plain_data(splits):  # -> inputs `(N, 500, 3)`, heart rate `(N, 500)` with NaN where padded, validation items
    "The plain loop's arrays"
    raw = PlainItems(splits.train)
    steps = np.concatenate([raw.columns(i)[:N_STEPS] for i in range(len(raw))])
    mean, sd = steps.mean(0), steps.std(0)
    train, x = PlainItems(splits.train, mean, sd), torch.empty(len(raw), N_STEPS, len(INPUTS))
    y = torch.full(x.shape[:2], float('nan'))
    for i in range(len(train)):
        own, hr_bpm = (part[:N_STEPS] for part in train[i])
        x[i, : len(own)], x[i, len(own) :], y[i, : len(own)] = own, own[-1], hr_bpm
    return x, y, PlainItems(splits.validation, mean, sd)


def timed(parts, name, function, *args):
    "A result, its time added to a part's"
    start = time.perf_counter()
    result = function(*args)
    parts[name] += time.perf_counter() - start
    return result


def step(parts, model, optimizer, loss, x, lengths, y):
    "One optimisation step"
    predicted = timed(parts, 'forward', model, x, lengths)
    error = timed(parts, 'loss', loss, predicted, y)
    optimizer.zero_grad()
    timed(parts, 'backward', error.backward)
    timed(parts, 'update', optimizer.step)


def mae_bpm(model, items):
    table = predict_items(model, items)
    return float((table.predicted_bpm - table.measured_bpm).abs().mean())


def step_rates(splits, plain, recipe, epochs):
    "Tables and sentences: steps of both in turns, over some epochs of hrft's loader"
    set_seed(0)
    x, y, _ = plain
    models = {'plain loop': PlainNet().train(), 'hrft': build(recipe.model, splits.normalisation).train()}
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=1e-3) for name, model in models.items()}
    parts, n, read = {name: defaultdict(float) for name in models}, 0, 0
    for _ in range(epochs):
        batches = iter(workout_loaders(splits, BATCH).train)
        while (batch := timed(parts['hrft'], 'data', next, batches, None)) is not None:
            if len(batch[1]) < BATCH:
                break  # the last, smaller one
            step(parts['hrft'], models['hrft'], optimizers['hrft'], step_loss, *batch)
            drawn = torch.randperm(len(x))[:BATCH]
            own = timed(parts['plain loop'], 'data', lambda chosen: (x[chosen], None, y[chosen]), drawn)
            step(
                parts['plain loop'],
                models['plain loop'],
                optimizers['plain loop'],
                lambda p, y: step_loss(p, y, 'mse'),
                *own,
            )
            n, read = n + 1, read + batch[0].shape[1]
    rows, all_ms = [], {name: 1000 * sum(spent.values()) / n for name, spent in parts.items()}
    for name, spent in parts.items():
        row = {'ms a step': name, 'parameters': n_parameters(models[name])}
        row |= {part: 1000 * spent[part] / n for part in ('data', 'forward', 'loss', 'backward', 'update')}
        rows.append(row | {'all': all_ms[name], 'steps/s': 1000 / all_ms[name]})
    said = (
        f"An optimisation step of hrft takes {all_ms['hrft'] / all_ms['plain loop']:.2f} times the plain loop's: {n} "
        f"of each in turns, {BATCH} runs a batch; hrft's have {read / n:.0f} grid steps, the plain loop's {N_STEPS}."
    )
    return {f'Optimisation steps on the first {N_STEPS} grid steps of a run': rows}, [said]


def plain_seconds(plain, target_bpm, cap_s):  # -> s or None, epochs, best MAE
    "Train the plain loop to the target or its cap"
    set_seed(0)
    x, y, validation = plain
    model, spent, best, epochs = PlainNet(), 0.0, float('inf'), 0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    while spent < cap_s:
        start = time.perf_counter()
        model.train()
        for drawn in torch.randperm(len(x)).split(BATCH):
            step(defaultdict(float), model, optimizer, lambda p, y: step_loss(p, y, 'mse'), x[drawn], None, y[drawn])
        best, epochs = min(best, mae_bpm(model, validation)), epochs + 1
        spent += time.perf_counter() - start
        if best <= target_bpm:
            return spent, epochs, best
    return None, epochs, best


def hrft_seconds(recipe, store, target_bpm):  # -> s or None, epochs, best MAE
    "Train a recipe to the target or its end"
    seen = []

    def reached(run, stage, epoch, value):
        seen.append((value, run.log.epochs().seconds.sum()))
        if value <= target_bpm or epoch == sum(stage.epochs for stage in recipe.stages):
            raise Pruned('enough')

    with tempfile.TemporaryDirectory() as folder:
        try:
            fit(STUDY, recipe, store.path, folder, show=False, after_epoch=reached)
        except Pruned:
            pass
    best = min(value for value, _ in seen)
    return seen[-1][1] if best <= target_bpm else None, len(seen), best


def time_to_target(store, people, splits, plain, given):
    "Tables and sentences: seconds to the target of each recipe and of the plain loop"
    rows, own_s = [], {}

    def add(name, made_s, before, seconds, epochs, best):
        row = {'': name, 'history, s': made_s, 'training, s': seconds or float(given.cap_s), 'epochs': epochs}
        rows.append(row | {'before, bpm': before, 'best, bpm': best, 'reached': 'yes' if seconds else 'no'})

    for name in given.recipes:
        recipe = read_recipe(name, HeartRecipe)
        start = time.perf_counter()
        own = split_people(people, recipe.data)
        made_s = time.perf_counter() - start
        before = mae_bpm(build(recipe.model, own.normalisation), own.validation)
        seconds, epochs, best = hrft_seconds(recipe, store, given.target_bpm)
        add(name, made_s, before, seconds, epochs, best)
        own_s[name] = seconds and made_s + seconds
    before = mae_bpm(PlainNet(), plain[2])
    seconds, epochs, best = plain_seconds(plain, given.target_bpm, given.cap_s)
    add('plain loop', 0.0, before, seconds, epochs, best)
    title = (
        f"Time to {given.target_bpm:g} bpm on {len(splits.validation.workouts)} runs of "
        f"{len(splits.people['validation'])} unseen people, {len(splits.train.workouts):,} training runs of "
        f"{len(splits.people['train'])}"
    )
    said = [
        f"The plain loop takes {'' if seconds else 'at least '}{(seconds or given.cap_s) / own:.0f} times as long as "
        f"{name}, the history included, to {given.target_bpm:g} bpm on people whom neither has seen."
        for name, own in own_s.items()
        if own
    ]
    return {title: rows}, said


def personal_seconds(store, person):
    "Tables and sentences: the shipped base personalised and fine-tuned for one person, everything included"
    with tempfile.TemporaryDirectory() as folder:
        start, begun_s = time.perf_counter(), time.process_time()
        run = personalize(store.path, person, folder, show=False, fine_tune=True)
        total_s, cpu_s, epochs = time.perf_counter() - start, time.process_time() - begun_s, run.log.epochs()
    return {}, [
        f"Personalising {person} takes {cpu_s:.1f} s of processor ({total_s:.1f} s by the clock) with scores and "
        f"intervals; {epochs.seconds.sum():.1f} s by the clock are training and validation in {len(epochs)} epochs."
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('store', nargs='?', default='', help='a store of several people (default: simulated runners)')
    parser.add_argument('--target-bpm', type=float, default=10.5, help='MAE on the validation people')
    parser.add_argument('--cap-s', type=float, default=600, help='seconds of training that the plain loop gets')
    parser.add_argument('--recipes', nargs='+', default=['heart/base', 'heart/plain'])
    parser.add_argument('--person', help='whom to personalise for (default: the one with the most runs)')
    parser.add_argument('--epochs', type=int, default=2, help="epochs of hrft's loader over which steps are timed")
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--fast', action='store_true', help='30 s for the plain loop, and one epoch of steps')
    parser.add_argument('--json', type=Path, help='where to keep the figures')
    given = parser.parse_args()
    if given.fast:
        given.cap_s, given.epochs = 30, 1
    torch.set_num_threads(1)
    store, _ = open_store(given.store)
    recipe = read_recipe('heart/base', HeartRecipe)
    people = {person: person_workouts(store, person, recipe.data) for person in store.people}
    splits = split_people(people, recipe.data.model_copy(update={'max_steps': N_STEPS}))
    plain, tables, sentences = plain_data(splits), {}, []
    person = given.person or max(people, key=lambda name: len(people[name]))
    for part, measure in {
        'steps': lambda: step_rates(splits, plain, recipe, given.epochs),
        'target': lambda: time_to_target(store, people, splits, plain, given),
        'person': lambda: personal_seconds(store, person),
    }.items():
        if part in given.parts:
            found, said = measure()
            tables, sentences = tables | found, sentences + said
    save(given.json, tables, sentences)


if __name__ == '__main__':
    main()

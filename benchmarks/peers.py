"""hrft's training beside a plain PyTorch loop, Lightning with finetuning-scheduler, and neuralforecast, in one run

    python benchmarks/peers.py [--store STORE] [--repeats 3] [--fast] [--json FILE]

Two tasks on the simulated store (or STORE), both with hrft's network that knows no history, since training has most to
do there: `base`, one stage on all but the person with the most runs, and `person`, two stages for that one from such a
base. The plain loop, Lightning and finetuning-scheduler get hrft's own network, its batches in its order, its rates,
its clipping, its stages and its validation error, so that they differ in nothing but the loop; whether they reach the
same errors is said. neuralforecast has models of its own: its LSTM gets the same people, the same features as
covariates that are known beforehand, the same start, and the same validation runs; a run is a series, padded to the
longest, and none of its heart rate is shown. Its rate does not change, and it has no stages.

Each training is a fresh process with one thread, all of them in turns, as often as there are repeats. An epoch is
training, validation and what is kept of it on disk; its clock counts seconds of processor, for others may be at work
on the machine. The target is the validation error of hrft's best epoch, or one within 0.1 % of it.
Memory is the largest that a process had, libraries included. Needs hrft[bench]; what is not installed is named.
"""

import argparse
import json
import math
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from report import ran, ratios, save, spread, text

EPOCHS = {'base': {'pretrain': 16}, 'person': {'stage1': 16, 'stage2': 12}}  # no early stop: all do the same work
FAST = {'base': {'pretrain': 6}, 'person': {'stage1': 5, 'stage2': 4}}
TASKS = {'base': 'A base on many people, one stage', 'person': 'One person from a base, two stages'}
BEST = 'best MAE, bpm'
LIBRARIES = 'lightning', 'finetuning_scheduler', 'neuralforecast'


# --- the work
@dataclass(frozen=True)
class Work:
    "What is to be trained, as hrft prepares it"

    recipe: Any
    splits: Any  # training and validation items
    parent: Any  # where the weights come from, or None
    store: Path

    @classmethod
    def of(cls, task: str, store: Path, epochs: dict[str, int], parent: Path | None) -> 'Work':
        from hrft.heart.study import STUDY, HeartRecipe
        from hrft.recipe import read_recipe
        from hrft.resume import inherited
        from hrft.study import study_weights

        changes = [f'stages.{name}.{what}' for name, n in epochs.items() for what in (f'epochs={n}', 'patience=0')]
        person = most_runs(store)
        if task == 'base':
            recipe = read_recipe('heart/plain', HeartRecipe, changes, {'study': 'heart', 'exclude': [person]})
            return cls(recipe, STUDY.open(recipe, store), None, store)
        header = study_weights(STUDY, parent)[1]
        own = read_recipe('heart/personal', HeartRecipe, changes, {'study': 'heart', 'person': person})
        recipe = inherited(own, header)
        return cls(recipe, STUDY.open(recipe, store, header), parent, store)

    def model(self):  # -> hrft's network with the weights that it begins with
        from hrft.core import derive_seed, set_seed
        from hrft.heart.study import STUDY
        from hrft.runfolder import load_into
        from hrft.study import DataFacts, study_weights

        set_seed(derive_seed(self.recipe.seed, 'model'))
        model = STUDY.build(self.recipe, DataFacts(self.splits.normalisation, STUDY.inputs(self.splits)))
        if self.parent:
            load_into(model, study_weights(STUDY, self.parent)[0], 'the base')
        return model

    def before_bpm(self) -> float:
        "Validation error of the weights that it begins with"
        from hrft.heart.models.network import predict_items

        table = predict_items(self.model(), self.splits.validation)
        return float((table.predicted_bpm - table.measured_bpm).abs().mean())

    def trained(self, model, stage):  # -> names of parameters and parameters
        frozen = {id(p) for name, group in model.groups().items() if name in stage.freeze for p in group}
        return {name: p for name, p in model.named_parameters() if id(p) not in frozen}


def most_runs(store: Path) -> str:
    "The person of a store with the most runs"
    from hrft.heart.files.store import Store

    return str(Store(store).workouts.person.value_counts().index[0])


class Batches:
    "hrft's training batches of a stage, each epoch drawn as hrft draws it, once its first batch is asked for"

    def __init__(self, work: Work, stage: Any):
        from hrft.heart.study import STUDY

        self.seed, self.stage, self.epoch = work.recipe.seed, stage, 0
        self.train, self.valid = STUDY.loaders(work.splits, stage)

    def __len__(self):
        return len(self.train)

    def __iter__(self) -> Iterator:
        from hrft.core import derive_seed, set_seed

        set_seed(derive_seed(self.seed, self.stage.name, self.epoch))
        self.train.rng.seed(derive_seed(self.seed, self.stage.name, self.epoch, 'order'))
        self.epoch += 1
        yield from self.train


class Clock:
    "Seconds and error of each epoch, from the first step on"

    def __init__(self):
        self.epochs: list[dict[str, Any]] = []

    def start(self) -> None:
        self.before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3
        self.last = time.perf_counter(), time.process_time()

    def epoch(self, mae_bpm: float) -> None:
        now = time.perf_counter(), time.process_time()
        spent = {name: b - a for name, a, b in zip(('seconds', 'cpu_s'), self.last, now)}
        self.epochs.append(spent | {'mae_bpm': mae_bpm})
        self.last = now


class Absolute:
    "Validation error, pooled over all measured steps"

    def __init__(self):
        self.total, self.n = 0.0, 0

    def add(self, predicted, measured) -> None:
        error = (predicted - measured).double().abs()
        self.total, self.n = self.total + float(error.nansum()), self.n + int(error.isfinite().sum())

    @property
    def mae_bpm(self) -> float:
        return self.total / self.n


def _optimizer(stage, parameters):
    import torch

    decay = stage.optimizer.weight_decay
    return torch.optim.AdamW(parameters, lr=stage.lr, betas=(stage.optimizer.momentum, 0.999), weight_decay=decay)


# --- who does it
def with_hrft(work: Work, clock: Clock) -> None:
    "fit(), with all its guards"
    from hrft.heart.study import STUDY
    from hrft.train import fit

    inspect = STUDY.inspect

    def inspected(*given):  # the last that is done before the first step
        found = inspect(*given)
        clock.start()
        return found

    STUDY.inspect = inspected
    with tempfile.TemporaryDirectory() as runs:
        fit(
            STUDY,
            work.recipe,
            work.store,
            runs,
            work.parent,
            show=False,
            after_epoch=lambda run, stage, epoch, mae_bpm: clock.epoch(mae_bpm),
        )


def with_plain_loop(work: Work, clock: Clock) -> None:
    "The shortest loop that does the same, with the best weights kept in memory"
    import torch
    from torch.nn.utils import clip_grad_norm_

    from hrft.callbacks import lr_at
    from hrft.heart.models.network import step_loss

    model = work.model()
    clock.start()
    for stage in work.recipe.stages:
        trained, batches, best, step = work.trained(model, stage), Batches(work, stage), (math.inf, {}), 0
        for name, p in model.named_parameters():
            p.requires_grad_(name in trained)
        optimizer = _optimizer(stage, trained.values())
        for _ in range(stage.epochs):
            model.train()
            for *x, y in batches:
                step += 1
                optimizer.param_groups[0]['lr'] = lr_at(stage, step, len(batches))
                optimizer.zero_grad()
                step_loss(model(*x), y).backward()
                clip_grad_norm_(trained.values(), stage.clip_norm)
                optimizer.step()
            model.eval()
            with torch.no_grad():
                error = Absolute()
                for *x, y in batches.valid:
                    error.add(model(*x), y)
            if error.mae_bpm < best[0]:
                best = error.mae_bpm, {name: t.clone() for name, t in model.state_dict().items()}
            clock.epoch(error.mae_bpm)
        model.load_state_dict(best[1])


def _lightning_module(work, clock, phases):
    "hrft's network as Lightning wants it; `phases` gives the batches of the stage that is trained"
    from lightning.pytorch import LightningModule

    from hrft.callbacks import lr_at
    from hrft.heart.models.network import step_loss

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.step, self.stage = work.model(), 0, None

        def training_step(self, batch, _):
            batches = phases()
            self.step, self.stage = (
                (self.step + 1, batches.stage) if self.stage is batches.stage else (1, batches.stage)
            )
            for group in self.optimizers().param_groups:
                group['lr'] = lr_at(batches.stage, self.step, len(batches))
            *x, y = batch
            return step_loss(self.net(*x), y)

        def on_validation_epoch_start(self):
            self.error = Absolute()

        def validation_step(self, batch, _):
            *x, y = batch
            self.error.add(self.net(*x), y)

        def on_validation_epoch_end(self):
            self.log('mae_bpm', self.error.mae_bpm)

        def configure_optimizers(self):
            return _optimizer(phases().stage, [p for p in self.parameters() if p.requires_grad])

        def on_train_start(self):
            clock.start()

    return Module()


def _lightning_clock(clock):
    "Reads the clock after the epoch's checkpoint is written"
    from lightning.pytorch import Callback

    class Reader(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            clock.epoch(pl_module.error.mae_bpm)

    return Reader()


def _trained_by(module, folder, batches, n_epochs, callbacks):
    from lightning.pytorch import Trainer

    stage = batches.stage
    trainer = Trainer(
        max_epochs=n_epochs,
        accelerator='cpu',
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=stage.clip_norm,
        default_root_dir=folder,
        callbacks=callbacks,
    )
    trainer.fit(module, batches, batches.valid)


def with_lightning(work: Work, clock: Clock) -> None:
    "Lightning's Trainer, for a training of one stage"
    _quiet()
    from lightning.pytorch.callbacks import ModelCheckpoint

    [stage] = work.recipe.stages
    batches = Batches(work, stage)
    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor='mae_bpm')
        module = _lightning_module(work, clock, lambda: batches)
        _trained_by(module, folder, batches, stage.epochs, [best, _lightning_clock(clock)])


class Phased:
    "Batches of the stage that finetuning-scheduler is in"

    def __init__(self, work: Work):
        self.all, self.scheduler = [Batches(work, stage) for stage in work.recipe.stages], None

    @property
    def now(self) -> Batches:
        return self.all[self.scheduler.curr_depth if self.scheduler else 0]

    stage = property(lambda self: self.now.stage)
    valid = property(lambda self: self.all[0].valid)

    def __len__(self):
        return len(self.now)

    def __iter__(self):
        yield from self.now


def with_scheduler(work: Work, clock: Clock) -> None:
    "finetuning-scheduler's phases for hrft's stages, each with an optimiser of its own and from the best weights"
    _quiet()
    from finetuning_scheduler import FinetuningScheduler, FTSCheckpoint

    phased, model = Phased(work), work.model()
    schedule, seen, end = {}, set(), 0
    for depth, stage in enumerate(work.recipe.stages):
        new, end = [name for name in work.trained(model, stage) if name not in seen], end + stage.epochs
        seen |= set(new)
        schedule[depth] = {'params': [f'net.{name}' for name in new], 'max_transition_epoch': end}
        if depth:
            settings = {'lr': stage.lr, 'weight_decay': stage.optimizer.weight_decay}
            optimizer = {'class_path': 'torch.optim.AdamW', 'init_args': settings}
            schedule[depth] |= {'lr': stage.lr, 'new_optimizer': {'optimizer_init': optimizer}}
    with tempfile.TemporaryDirectory() as folder:
        phased.scheduler = FinetuningScheduler(schedule, epoch_transitions_only=True, log_dir=folder)
        best = FTSCheckpoint(folder, monitor='mae_bpm')
        module = _lightning_module(work, clock, lambda: phased.now)
        _trained_by(module, folder, phased, end, [phased.scheduler, best, _lightning_clock(clock)])


def _quiet():
    "Lightning imports torchvision, which hrft gets past where it was built for another torch"
    import logging

    from hrft.core import load_torchvision

    load_torchvision()
    for name in ('lightning.pytorch', 'lightning.fabric', 'pytorch_lightning', 'finetuning_scheduler'):
        logging.getLogger(name).setLevel(logging.ERROR)


def with_neuralforecast(work: Work, clock: Clock) -> None:
    "An LSTM of the same size over covariates that are known beforehand, as many steps an epoch as hrft takes"
    _quiet()
    import numpy as np
    import pandas as pd
    import torch
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MAE
    from neuralforecast.models import LSTM
    from pytorch_lightning import Callback

    [stage], normalisation, lead = work.recipe.stages, work.splits.normalisation, 1  # empty steps before a run
    names, mean, sd = (normalisation[name] for name in ('features', 'mean', 'sd'))
    start_bpm, scale_bpm = normalisation['bpm_mean'], normalisation['bpm_sd']  # as hrft's network has them
    longest = max(items.length(i) for items in (work.splits.train, work.splits.validation) for i in range(len(items)))

    def series(items, i):  # -> covariates `(lead + longest, F)`, what is left of the heart rate; NaN where unknown
        x, y = (part.numpy() for part in items[i])
        covariates, left = (
            np.zeros((lead + longest, len(names)), np.float32),
            np.full(lead + longest, np.nan, np.float32),
        )
        covariates[lead : lead + len(x)] = np.nan_to_num((x - mean) / sd).clip(-6, 6)
        left[lead : lead + len(y)] = (y - start_bpm) / scale_bpm
        return covariates, left

    def table(items, i):
        covariates, left = series(items, i)
        frame = pd.DataFrame(covariates, columns=names).assign(unique_id=i, ds=range(len(left)), y=np.nan_to_num(left))
        return frame.assign(available_mask=(np.isfinite(left) | (frame.ds < lead)).astype(int))

    train, valid = work.splits.train, work.splits.validation
    data = pd.concat([table(train, i) for i in range(len(train))], ignore_index=True)
    held, measured = map(np.stack, zip(*(series(valid, i) for i in range(0, len(valid), valid.n_pasts))))
    empty = torch.zeros(len(held), lead + longest - 1, 1)
    window = {'insample_y': empty, 'insample_mask': empty, 'futr_exog': torch.from_numpy(held[:, 1:])}
    window |= {'hist_exog': None, 'stat_exog': None}
    n_steps = len(Batches(work, stage))

    class Reader(Callback):
        def on_train_start(self, trainer, pl_module):
            clock.start()

        def on_train_batch_end(self, trainer, pl_module, *_):
            if trainer.global_step % n_steps:
                return
            pl_module.eval()
            with torch.no_grad():
                error = Absolute()
                error.add(scale_bpm * pl_module(window)[..., 0], scale_bpm * torch.from_numpy(measured[:, lead:]))
            pl_module.train()
            clock.epoch(error.mae_bpm)

    model = LSTM(
        longest,
        lead,
        h_train=longest,
        recurrent=True,
        exclude_insample_y=True,  # the heart rate of the step before, which nobody knows before a run
        encoder_hidden_size=work.recipe.model.hidden,
        encoder_n_layers=work.recipe.model.layers,
        encoder_dropout=work.recipe.model.dropout,
        scaler_type='identity',
        futr_exog_list=names,
        loss=MAE(),
        max_steps=n_steps * stage.epochs,
        learning_rate=stage.lr,
        batch_size=stage.batch_size,
        windows_batch_size=stage.batch_size,
        optimizer=torch.optim.AdamW,
        optimizer_kwargs={'weight_decay': stage.optimizer.weight_decay},
        gradient_clip_val=stage.clip_norm,
        accelerator='cpu',
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        callbacks=[Reader()],
    )
    NeuralForecast([model], freq=1).fit(data)


# name -> what it runs, its tasks, the library it needs
CONTENDERS: dict[str, tuple[Callable, tuple[str, ...], str]] = {
    'plain loop': (with_plain_loop, ('base', 'person'), 'torch'),
    'hrft': (with_hrft, ('base', 'person'), 'hrft'),
    'Lightning': (with_lightning, ('base',), 'lightning.pytorch'),
    'finetuning-scheduler': (with_scheduler, ('person',), 'finetuning_scheduler'),
    'neuralforecast LSTM': (with_neuralforecast, ('base',), 'neuralforecast'),
}


def train(name: str, task: str, store: Path, epochs: dict[str, int], parent: Path | None) -> None:
    "The child: one training, its figures printed"
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    weight = torch.ones(1, requires_grad=True)  # a first step imports much of torch, which is no part of an epoch
    weight.backward()
    torch.optim.AdamW([weight]).step()
    clock, work = Clock(), Work.of(task, store, epochs, parent)
    before_bpm = work.before_bpm()
    CONTENDERS[name][0](work, clock)
    print('\n' + json.dumps({'before_mb': clock.before_mb, 'before_bpm': before_bpm, 'epochs': clock.epochs}))


# --- what it came to
def cpu_to(epochs: list[dict], target_bpm: float) -> float | None:
    "Seconds of processor until the validation error is reached"
    spent = 0.0
    for each in epochs:
        spent += each['cpu_s']
        if each['mae_bpm'] <= target_bpm:
            return spent
    return None


def spent_s(run: dict[str, Any]) -> list[float]:
    "Seconds of processor of all epochs of a training"
    return [each['cpu_s'] for each in run['epochs']]


def epoch_s(runs: list[dict[str, Any]]) -> list[float]:
    "Seconds of processor of an epoch after the first, of each repeat"
    return [median(spent_s(run)[1:]) for run in runs]


def rows_of(runs: dict[str, list[dict]]) -> list[dict[str, Any]]:
    "A row a contender"
    target = 1.001 * min(each['mae_bpm'] for each in runs['hrft'][0]['epochs'])
    reached = {name: [cpu_to(run['epochs'], target) for run in own] for name, own in runs.items()}
    rows = []
    for name, own in runs.items():
        errors, there = [e['mae_bpm'] for e in own[0]['epochs']], None not in reached[name]
        row = {
            '': name,
            'MAE before, bpm': f'{own[0]["before_bpm"]:.3f}',
            BEST: f'{min(errors):.3f}',
            f'epochs to {target:.3f} bpm': str(
                next((i for i, e in enumerate(errors, 1) if e <= target), 'not reached')
            ),
            'CPU s to it': spread(reached[name]) if there else 'not in ' + spread([sum(spent_s(run)) for run in own]),
            'times the plain loop': spread(ratios(reached[name], reached['plain loop'])) if there else '',
            'CPU s an epoch': spread(epoch_s(own)),
            'an epoch, times the plain loop': spread(ratios(epoch_s(own), epoch_s(runs['plain loop']))),
            'peak MB': round(median(run['peak_mb'] for run in own)),
            'MB before training': round(median(run['before_mb'] for run in own)),
            'process, CPU s': spread([run['cpu_s'] for run in own]),
        }
        rows.append(row)
    return rows


def sentences_of(task: str, runs: dict[str, list[dict]], rows: list[dict]) -> list[str]:
    "What the figures say"
    by_name, plain, said = {row['']: row for row in rows}, runs['plain loop'][0]['epochs'], []
    own, others = by_name['hrft'], [name for name in runs if name not in ('hrft', 'plain loop')]
    said.append(
        f"{TASKS[task]}: an epoch of hrft takes {own['an epoch, times the plain loop']} times the plain loop's."
    )
    for name in others:
        to_hrft = spread(ratios(epoch_s(runs[name]), epoch_s(runs['hrft'])))
        said.append(
            f"An epoch of {name} takes {to_hrft} times hrft's; its process needs {by_name[name]['peak MB']:,} MB, "
            f"hrft's {own['peak MB']:,} MB."
        )
        if name == 'neuralforecast LSTM':
            said.append(f"Its best validation error is {by_name[name][BEST]} bpm, hrft's {own[BEST]} bpm.")
    for name in ['hrft', *others]:
        if 'neuralforecast' not in name:
            apart = [abs(a['mae_bpm'] - b['mae_bpm']) for a, b in zip(runs[name][0]['epochs'], plain, strict=True)]
            same = 'are the same, to the last bit' if not max(apart) else f'differ by {max(apart):.1g} bpm at most'
            said.append(f"The validation errors of {name} and of the plain loop {same}, over {len(apart)} epochs.")
    rest_s = median(run['cpu_s'] - sum(spent_s(run)) for run in runs['hrft'])
    plain_s = median(run['cpu_s'] - sum(spent_s(run)) for run in runs['plain loop'])
    said.append(
        f"Beside its epochs hrft's process takes {text(rest_s)} s of processor, the plain loop's {text(plain_s)} s: "
        "both import and read, and hrft then scores each stage and baseline with intervals and keeps what people teach."
    )
    return said


def missing() -> dict[str, str]:
    "Libraries that cannot be imported, and why"
    found = {}
    for name, (_, _, library) in CONTENDERS.items():
        try:
            _quiet()
            import_module(library)
        except Exception as error:  # whatever another package's import raises
            found[name] = (
                f"{library} could not be imported ({type(error).__name__}: {error}); pip install 'hrft[bench]'"
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--store', type=Path, help='a store of several people (default: simulated runners)')
    parser.add_argument('--repeats', type=int, default=3, help='of each training, in turns')
    parser.add_argument('--tasks', nargs='+', choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument('--fast', action='store_true', help='fewer epochs')
    parser.add_argument('--json', type=Path, help='where to keep the figures')
    parser.add_argument('--contender', choices=list(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument('--parent', type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    plan = FAST if given.fast else EPOCHS
    if given.contender:
        return train(given.contender, given.tasks[0], given.store, plan[given.tasks[0]], given.parent)
    from hrft.heart.study import open_store, pretrain

    store, absent, tables, sentences = given.store or open_store('')[0].path, missing(), {}, []
    with tempfile.TemporaryDirectory() as folder:
        shared: list[str | Path] = ['--store', store, *(['--fast'] if given.fast else [])]
        if 'person' in given.tasks:
            changes = [f'stages.pretrain.epochs={plan["base"]["pretrain"]}', 'stages.pretrain.patience=0']
            base = pretrain('heart/plain', store, [most_runs(store)], 0, folder, changes, show=False)
            shared += ['--parent', base.path]
        for task in given.tasks:
            names = [name for name, (_, tasks, _) in CONTENDERS.items() if task in tasks and name not in absent]
            runs = in_turns(task, names, given.repeats, shared)
            epochs = ', '.join(f'{name} {n}' for name, n in plan[task].items())
            tables[f'{TASKS[task]}: {epochs} epochs'] = rows_of(runs)
            sentences += sentences_of(task, runs, rows_of(runs))
    sentences += [f'{name} was left out: {why}.' for name, why in absent.items()]
    sentences.append(
        "darts is not among them: its recurrent model reads the target of the step before at each step, and its others "
        "a chunk of the past target, which nobody has of a run that has not begun."
    )
    save(given.json, tables, sentences, LIBRARIES)


def in_turns(task: str, names: list[str], repeats: int, shared: list[str | Path]) -> dict[str, list[dict[str, Any]]]:
    "Train a task with each contender, in a process of its own, another one first each time"
    runs: dict[str, list[dict]] = {name: [] for name in names}
    for i in range(repeats):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            child = ran([sys.executable, __file__, *shared, '--tasks', task, '--contender', name])
            figures = json.loads(child.printed.splitlines()[-1])
            runs[name].append(figures | {'peak_mb': child.peak_mb, 'cpu_s': child.cpu_s})
            print(f'{task}, {name}: {text(child.cpu_s)} s of processor', file=sys.stderr, flush=True)
    return runs


if __name__ == '__main__':
    main()

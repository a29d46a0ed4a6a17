"""How long one workout's prediction takes once the model is loaded: from a file, from points and from a grid

torch and onnxruntime take turns.

    python benchmarks/heart_latency.py [FILE] [--run RUN] [--repeats 100] [--fast] [--json FILE]

The aim is less than 10 ms from a gridded run to its heart rate: features and the model's forward pass. One thread.
Needs hrft[onnx].
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from report import save

from hrft.core import package_path, project_root
from hrft.heart.export import OnnxModel, export_onnx
from hrft.heart.files.readers import read_recordings
from hrft.heart.prepare.data import HeartItems, Workout, new_item, pad_batch
from hrft.heart.prepare.workouts import on_grid
from hrft.heart.study import load_model


class Clock:
    "Milliseconds by part"

    def __init__(self):
        self.parts = {}

    def __call__(self, part, function, *args):
        start = time.perf_counter()
        result = function(*args)
        self.parts.setdefault(part, []).append(1000 * (time.perf_counter() - start))
        return result

    def total(self, *parts):
        return np.sum([self.parts[part] for part in parts], axis=0)


def predict_once(clock, file, models, header, past):
    "The way from a file to heart rates, a part at a time"
    options = header.options
    points = clock('read the file', lambda: next(iter(read_recordings(file))).points)
    grid = clock('points to grid', on_grid, points, options.grid_step_s, options.smooth_s)

    def inputs():
        run = Workout.from_grid(grid, grid_step_s=options.grid_step_s)
        return pad_batch([HeartItems([run], [[past]], header.normalisation['features'])[0]])[:2]

    x, lengths = clock('features', inputs)
    for name in np.random.permutation(list(models)):
        clock(name, models[name], x, lengths)  # in any order
    return x.shape[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'file',
        nargs='?',
        default=project_root() / 'data/sample/run_simulated.tcx',
        help='a workout (default: the sample)',
    )
    parser.add_argument('--run', default=package_path('heart/weights/base'), help='a finished run (default: the base)')
    parser.add_argument('--repeats', type=int, default=100)
    parser.add_argument('--fast', action='store_true', help='a fifth of the repeats')
    parser.add_argument('--json', type=Path, help='where to keep the figures')
    given = parser.parse_args()
    n_repeats = given.repeats // 5 if given.fast else given.repeats
    torch.set_num_threads(1)
    clock = Clock()
    model, header = clock('load the weights', load_model, given.run)
    with tempfile.TemporaryDirectory() as folder:
        first = next(iter(read_recordings(given.file)))
        path, difference = export_onnx(given.run, Path(folder) / 'model.onnx')
        models = {'torch': model, 'onnxruntime': clock('load the ONNX file', OnnxModel, path)}
        past = new_item(first.points, header.options, header.normalisation).pasts[0][0]
        with torch.no_grad():
            for _ in range(5):
                n_steps = predict_once(Clock(), given.file, models, header, past)
            for _ in range(n_repeats):
                predict_once(clock, given.file, models, header, past)
    rows = dict(clock.parts)
    for name in models:
        rows[f'grid to heart rate, {name}'] = clock.total('features', name)
        rows[f'file to heart rate, {name}'] = clock.total('read the file', 'points to grid', 'features', name)
    table = [
        {'': part, 'median, ms': float(np.median(ms)), '95th percentile, ms': float(np.percentile(ms, 95))}
        for part, ms in rows.items()
    ]
    grid_ms, file_ms = (float(np.median(rows[f'{what} to heart rate, torch'])) for what in ('grid', 'file'))
    ratio = np.median(np.divide(rows['torch'], rows['onnxruntime']))
    sentences = [
        f'From a gridded run of {n_steps} steps to its heart rate: {grid_ms:.1f} ms; from its file: {file_ms:.0f} ms.',
        f"torch's forward pass takes {ratio:.2f} times onnxruntime's, which differs by {difference:.0e} bpm at most.",
    ]
    save(given.json, {f'{Path(given.file).name}, {n_repeats} times': table}, sentences, ['onnxruntime'])


if __name__ == '__main__':
    main()

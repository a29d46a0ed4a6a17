"""How long one workout's prediction takes once the model is loaded: from a file, from points and from a grid

torch and onnxruntime take turns.

    python benchmarks/heart_latency.py [FILE] [--run RUN] [--repeats 100]

The aim is less than 10 ms from a gridded run to its heart rate: features and the model's forward pass. One thread.
Needs hrft[onnx].
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

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
        run = Workout.from_grid(grid, grid_step_s=options.grid_step_s, loads=past.loads)
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
    given = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    model, header = load_model(given.run)
    print(f'load the weights: {1000 * (time.perf_counter() - start):.0f} ms')
    with tempfile.TemporaryDirectory() as folder:
        first = next(iter(read_recordings(given.file)))
        path, difference = export_onnx(given.run, Path(folder) / 'model.onnx')
        start = time.perf_counter()
        models, past, clock = (
            {'torch': model, 'onnxruntime': OnnxModel(path)},
            new_item(first.points, header.options, header.normalisation).pasts[0][0],
            Clock(),
        )
        print(
            f'load the ONNX file: {1000 * (time.perf_counter() - start):.0f} ms; '
            f'largest difference {difference:.0e} bpm'
        )
        with torch.no_grad():
            for _ in range(5):
                n_steps = predict_once(Clock(), given.file, models, header, past)
            for _ in range(given.repeats):
                predict_once(clock, given.file, models, header, past)
    print(
        f'{Path(given.file).name}: {n_steps} steps of {header.options.grid_step_s:g} s; {given.repeats} times, '
        f'one thread\n\n{"":<34}{"median":>9}{"95 %":>9}  ms'
    )
    rows = {part: clock.total(part) for part in clock.parts}
    for name in models:
        rows[f'grid to heart rate, {name}'] = clock.total('features', name)
        rows[f'file to heart rate, {name}'] = clock.total('read the file', 'points to grid', 'features', name)
    for part, ms in rows.items():
        print(f'{part:<34}{np.median(ms):>9.2f}{np.percentile(ms, 95):>9.2f}')
    print(f'\nforward pass, torch over onnxruntime: {np.median(rows["torch"] / rows["onnxruntime"]):.2f}')


if __name__ == '__main__':
    main()

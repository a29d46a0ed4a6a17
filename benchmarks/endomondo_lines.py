"""How much faster Endomondo's lines are read than by ast.literal_eval: ten lines each way in turns, results compared.

parse_line gives the same dict; line_recording goes on to the recording: arrays in the store's units, sorted and
checked; with its table, the points are made into a data frame with a distance along the positions as well, which
Recording does only when it is asked for them.

    python benchmarks/endomondo_lines.py [--lines 200] [--points 500] [--seed 0]
"""

import argparse
import ast
import time

import numpy as np

from hrft.heart.files.endomondo import line_recording, parse_line


def made_line(rng, points):
    "A workout like Endomondo's, written as Python writes it"
    time_s = 1408898746 + np.cumsum(rng.integers(1, 9, points))
    step = rng.normal(1e-4, 2e-5, (2, points)).cumsum(axis=1)
    workout = {
        'speed': (10 + rng.normal(0, 1, points).cumsum() * 0.1).clip(0).round(4).tolist(),
        'altitude': (40 + rng.normal(0, 0.2, points).cumsum()).round(1).tolist(),
        'gender': 'male',
        'heart_rate': (150 + 10 * np.sin(np.arange(points) / 60) + rng.normal(0, 1, points)).astype(int).tolist(),
        'timestamp': time_s.tolist(),
        'latitude': (60.17 + step[0]).tolist(),
        'longitude': (24.65 + step[1]).tolist(),
        'sport': 'run',
        'userId': int(rng.integers(1e6, 1e7)),
        'id': int(rng.integers(1e8, 1e9)),
        'url': 'https://www.endomondo.com/users/10921915/workouts/396826535',
    }
    return repr(workout).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--lines', type=int, default=400)
    parser.add_argument('--points', type=int, default=500)
    parser.add_argument('--seed', type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    calls = {
        'ast.literal_eval': lambda line: ast.literal_eval(line.decode()),
        'parse_line': parse_line,
        'line_recording': lambda line: line_recording(line, 'x'),
        'with its table': lambda line: line_recording(line, 'x').points,
    }
    seconds, n_bytes, ratios = dict.fromkeys(calls, 0.0), 0, []
    for _ in range(0, given.lines, 10):
        lines = [made_line(rng, given.points) for _ in range(10)]
        n_bytes += sum(map(len, lines))
        took, results = {}, {}
        for name in rng.permutation(list(calls)):  # ten lines each way in turns, in any order
            start = time.perf_counter()
            results[name] = [calls[name](line) for line in lines]
            took[name] = time.perf_counter() - start
        assert results['parse_line'] == results['ast.literal_eval'], 'the two readers differ'
        for name in seconds:
            seconds[name] += took[name]
        ratios.append(took['ast.literal_eval'] / took['parse_line'])
    for name, total in seconds.items():
        print(f'{name:18} {1000 * total / given.lines:8.3f} ms a line {n_bytes / total / 1e6:8.1f} MB/s')
    eval_s = seconds['ast.literal_eval']
    print(
        f"{given.lines} lines of {given.points} points, {n_bytes / given.lines / 1000:.0f} kB each, equal results. "
        f"Times the speed of ast.literal_eval: {eval_s / seconds['parse_line']:.1f} (median {np.median(ratios):.1f}), "
        f"up to the recording {eval_s / seconds['line_recording']:.1f}, "
        f"with its table {eval_s / seconds['with its table']:.1f}"
    )


if __name__ == '__main__':
    main()

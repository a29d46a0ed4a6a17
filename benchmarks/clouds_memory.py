"""The memory that a flight of 14,000 camera frames of 440x640 takes: written here, read in a process of its own.

The file holds 7.9 GB of counts; frames that nothing is drawn on are left to HDF5's fill value, so that little of it
lies on disk. Reading makes no difference between the two.

    python benchmarks/clouds_memory.py [--frames 14000] [--labels 60] [--seed 0]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np

SHAPE = 440, 640


def write_flight(folder, n_frames, n_labels, seed):
    "Camera, navigation and lidar files with labels spread over the flight"
    rng, first = np.random.default_rng(seed), datetime(2024, 10, 30, 18, tzinfo=timezone.utc).timestamp()
    folder.mkdir()
    labelled = np.linspace(10, n_frames - 10, n_labels).astype(int)
    with h5py.File(folder / 'camera.h5', 'w') as file:
        signal = file.create_dataset('Product/Signal', (n_frames, *SHAPE), 'u2', chunks=(1, *SHAPE), fillvalue=2000)
        for frame in labelled:
            signal[frame] = rng.integers(1500, 2500, SHAPE)
        file['Time/TimeUTC'] = first + np.arange(n_frames, dtype=float)
    with h5py.File(folder / 'navigation.hdf', 'w') as file:
        file['nav/solarZenith'], file['nav/sunAzGrd'] = np.full(n_frames, 47.5), np.full(n_frames, 180.0)
    year = datetime(2024, 1, 1, tzinfo=timezone.utc).timestamp()
    with h5py.File(folder / 'lidar.hdf5', 'w') as file:
        group, layers = file.create_group('layer_descriptor'), np.full((n_labels, 10), -9999.0, np.float32)
        layers[:, 0] = rng.uniform(0.2, 1.9, n_labels)
        group['Profile_Decimal_Julian_Day'] = 1 + (first + labelled[:, None] - year + [[-2.5, 0, 2.5]]) / 86400
        group['Layer_Base_Altitude'], group['Lidar_Surface_Altitude'], group['DEM_Surface_Altitude'] = (
            layers,
            np.zeros(n_labels, np.float32),
            np.zeros(n_labels, np.float32),
        )


def read(folder):
    "Prepare the flight's samples and print what it took"
    from hrft.clouds.data import CloudData, flight_items

    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    items = flight_items(folder, CloudData(images={'size': 256, 'frames': 3}))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{items}: {items.frames.nbytes / 1e6:.0f} MB of samples in {time.perf_counter() - start:.0f} s; "
        f"{before / 1e3:.0f} MB after the imports, {peak / 1e3:.0f} MB at the peak"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--frames', type=int, default=14000)
    parser.add_argument('--labels', type=int, default=60)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--read', help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        return read(given.read)
    with tempfile.TemporaryDirectory() as folder:
        write_flight(Path(folder) / '30Oct24', given.frames, given.labels, given.seed)
        print(
            f"{given.frames:,} frames of {SHAPE[0]}x{SHAPE[1]}: "
            f"{given.frames * 2 * SHAPE[0] * SHAPE[1] / 1e9:.1f} GB of counts"
        )
        subprocess.run([sys.executable, __file__, '--read', str(Path(folder) / '30Oct24')], check=True)


if __name__ == '__main__':
    main()

"""The memory it takes to read an Apple Health export of about a gigabyte: written here, read in a process of its own.

python benchmarks/apple_memory.py [--megabytes 1000] [--workouts 400] [--seed 0] [--zip]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

HEAD = '''<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE HealthData [
<!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout|ActivitySummary|ClinicalRecord)*)>
<!ATTLIST HealthData locale CDATA #REQUIRED>
<!ELEMENT Record ((MetadataEntry|HeartRateVariabilityMetadataList)*)>
<!ATTLIST Record type CDATA #REQUIRED unit CDATA #IMPLIED value CDATA #IMPLIED>
]>
<HealthData locale="en_GB">
 <ExportDate value="2025-01-01 10:00:00 +0100"/>
 <Me HKCharacteristicTypeIdentifierDateOfBirth="1990-01-01" \
HKCharacteristicTypeIdentifierBiologicalSex="HKBiologicalSexFemale"/>
'''
WATCH = (
    'sourceName="Apple Watch" sourceVersion="9.1" device="&lt;&lt;HKDevice: 0x283a0c5a0&gt;, name:Apple Watch, '
    'manufacturer:Apple Inc., model:Watch, hardware:Watch6,2, software:9.1&gt;"'
)
KINDS = [
    ('HeartRate', 'count/min', 60, 100, 0.35),
    ('StepCount', 'count', 5, 200, 0.2),
    ('ActiveEnergyBurned', 'kcal', 0, 9, 0.3),
    ('DistanceWalkingRunning', 'km', 0, 0.2, 0.1),
    ('BasalEnergyBurned', 'kcal', 1, 20, 0.05),
]
MINUTES = 50


def written(time_s):
    return np.datetime_as_string(np.asarray(time_s, dtype='int64').astype('datetime64[s]'))


def record(kind, unit, begin, end, value):
    "One record, with the metadata that a watch adds to heart rates"
    begin, end = begin.replace('T', ' '), end.replace('T', ' ')
    text = (
        f' <Record type="HKQuantityTypeIdentifier{kind}" {WATCH} unit="{unit}" creationDate="{end} +0100" '
        f'startDate="{begin} +0100" endDate="{end} +0100" value="{value:.4g}"'
    )
    return text + (
        '>\n  <MetadataEntry key="HKMetadataKeyHeartRateMotionContext" value="0"/>\n </Record>\n'
        if kind == 'HeartRate'
        else '/>\n'
    )


def write_export(path, megabytes, n_workouts, seed):
    "Records until the size is reached, and workouts with their heart rates strewn in, every fourth with a route file"
    rng = np.random.default_rng(seed)
    starts = rng.permutation(1_500_000_000 + 86400 * 3 * np.arange(n_workouts) + rng.integers(0, 40000, n_workouts))
    shares, size, done, records = np.array([k[-1] for k in KINDS]), 0, 0, 0
    with open(path, 'w', encoding='utf-8') as out:
        size += out.write(HEAD)
        while size < megabytes * 1e6:
            times = rng.integers(1_500_000_000, 1_500_000_000 + 86400 * 3 * n_workouts, 5000)
            begins, ends, kinds = (
                written(times),
                written(times + 60),
                rng.choice(len(KINDS), 5000, p=shares / shares.sum()),
            )
            values = rng.random(5000)
            lines = [
                record(*KINDS[k][:2], b, e, KINDS[k][2] + v * (KINDS[k][3] - KINDS[k][2]))
                for k, b, e, v in zip(kinds, begins, ends, values)
            ]
            while done < n_workouts and done <= n_workouts * size / (megabytes * 1e6):
                route = f'/workout-routes/route_{done}.gpx' if done % 4 == 0 else None
                lines += workout_lines(starts[done], rng, route)
                if route:
                    write_route(path.parent / route.lstrip('/'), starts[done], rng)
                done += 1
            records += len(lines)
            size += out.write(''.join(lines))
        out.write('</HealthData>\n')
    return records, done


def write_route(path, start, rng):
    "A point a second, as the watch exports them"
    path.parent.mkdir(exist_ok=True)
    places = rng.normal(2e-5, 1e-5, (2, MINUTES * 60)).cumsum(axis=1)
    points = ''.join(
        f'<trkpt lon="{5 + x:.6f}" lat="{45 + y:.6f}"><ele>100.0</ele><time>{t}Z</time>'
        '<extensions><speed>3.0</speed><course>206.252884</course><hAcc>8.063116</hAcc><vAcc>6.428697</vAcc></extensions></trkpt>\n'
        for x, y, t in zip(*places, written(start + np.arange(MINUTES * 60)))
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gpx version="1.1" creator="Apple Health Export" xmlns="http://www.topografix.com/GPX/1/1">'
        f'<trk><name>Route</name><trkseg>{points}</trkseg></trk></gpx>',
        encoding='utf-8',
    )


def workout_lines(start, rng, route):
    "A run of 50 minutes: its heart rates every 5 s, its distances every 10 s, and the workout itself"
    seconds = np.arange(0, MINUTES * 60, 5)
    moments = written(start + seconds)
    beats = 150 - 60 * np.exp(-seconds / 90) + rng.normal(0, 2, len(seconds))
    lines = [record('HeartRate', 'count/min', t, t, b) for t, b in zip(moments, beats.round())]
    lines += [record('DistanceWalkingRunning', 'km', a, b, 0.03) for a, b in zip(moments[:-2:2], moments[2::2])]
    begin, end = (str(t).replace('T', ' ') for t in written([start, start + MINUTES * 60]))
    lines.append(
        f' <Workout workoutActivityType="HKWorkoutActivityTypeRunning" duration="{MINUTES}" durationUnit="min" {WATCH} '
        f'creationDate="{end} +0100" startDate="{begin} +0100" endDate="{end} +0100">\n'
        '  <WorkoutStatistics type="HKQuantityTypeIdentifierDistanceWalkingRunning" '
        f'startDate="{begin} +0100" endDate="{end} +0100" sum="9.0" unit="km"/>\n'
        + (f'  <WorkoutRoute><FileReference path="{route}"/></WorkoutRoute>\n' if route else '')
        + ' </Workout>\n'
    )
    return lines


def read_export(path):
    "The child: read everything, keep nothing, say what it took"
    from hrft.heart.files.readers import Recording, read_recordings

    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, n, points, refused, routes = time.perf_counter(), 0, 0, 0, 0
    for got in read_recordings(path):
        if isinstance(got, Recording):
            n, points, routes = n + 1, points + len(got.points), routes + got.merged
        else:
            refused += 1
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f'{n} workouts with {points} points, {routes} of them with a route, {refused} refused, '
        f'in {time.perf_counter() - start:.0f} s; peak memory {peak_mb:.0f} MB, '
        f'of which {before_mb:.0f} MB are Python and its libraries'
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--megabytes', type=float, default=1000)
    parser.add_argument('--workouts', type=int, default=400)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--zip', action='store_true', help='pack the export first')
    parser.add_argument('--read', help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        return read_export(given.read)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'export.xml'
        records, workouts = write_export(path, given.megabytes, given.workouts, given.seed)
        print(f'written: {path.stat().st_size / 1e6:.0f} MB, {records} elements, {workouts} workouts', flush=True)
        if given.zip:
            with zipfile.ZipFile(path.with_suffix('.zip'), 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for part in [path, *sorted((path.parent / 'workout-routes').glob('*.gpx'))]:
                    archive.write(part, f'apple_health_export/{part.relative_to(path.parent)}')
            path.unlink()
            path = path.with_suffix('.zip')
            print(f'packed: {path.stat().st_size / 1e6:.0f} MB', flush=True)
        subprocess.run([sys.executable, __file__, '--read', str(path)], check=True)


if __name__ == '__main__':
    main()

"""Every report on the embedded, simulated default: side by side, the heart report first

`python .ci/reports.py [NAME ...] [--full] [--again]`. A page is rendered again where something that it is made of has
changed: its template, the values here, hrft's code, a version, or the page itself. Finished runs are not trained again.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MADE = ROOT / "runs/reports.json"  # what each page was made of; it goes with the runs
FEWER = {  # what keeps a page on drawn data within a minute or two of one core, the longest first after the heart's
    "heart": {"recipes": ["heart/plain", "heart/base", "heart/trees"], "members": ["base", "trees"], "amounts": [0, 5]},
    "clouds": {
        "recipes": ["clouds/base", "clouds/residual"],
        "settings": ["data.images.size=40", "stages.pretrain.epochs=8", "stages.final.epochs=4"],
        "shorter": ["stages.pretrain.epochs=6", "stages.final.epochs=3"],
        "quick": [],
        "overweights": [3.5],
        "alternatives": {},
        "shadowless": False,
        "labels": [0, 25],
    },
    "ablations": {"base_topics": ["loss"], "personal_topics": ["stage"], "amounts": [0, 5], "personal_workouts": [5]},
    "lips": {
        "n_folds": 4,
        "changes": ["data.frames=10", "data.height=16", "data.width=24", "stages.0.batch_size=8"],
        "resumed_changes": ["data.frames=8", "data.height=16", "data.width=24"],
        "resumes_epochs": 6,
    },
    "survey": {
        "changes": ["model.width=48", "model.layers=1", "stages.0.lr=4e-3", "stages.0.warmup_steps=20"],
        "n_folds": 2,
        "seeds": 2,
        "grid_changes": ["model.width=32", "model.layers=1", "stages.0.lr=1e-2", "stages.0.warmup_steps=20"],
        "multipliers": [0.5, 0.6, 0.75],
        "grid_seeds": 3,
    },
    "faces": {"recipes": ["faces/base", "faces/dice-2.0", "faces/augment-none", "faces/seed"]},
    "runs": {},
    "diagnosis": {},
}


def _made_of(name: str, parameters: dict) -> str:
    "A digest of what decides a page: its template, values, code, versions"
    from hrft.core import digest, file_digest, versions

    files = [ROOT / f"nbs/reports/{name}.ipynb", *sorted(p for p in (ROOT / "hrft").rglob("*.*") if p.suffix != ".pyc")]
    return digest([parameters, versions(), *map(file_digest, files)])


def _page(name: str) -> str:
    "A digest of a page's files, '' where one is missing"
    from hrft.core import digest, file_digest

    page = ROOT / f"reports/{name}-simulated.md"
    files = [page, page.with_suffix(".ipynb"), page.with_suffix(".html"), *sorted(_pictures(page).glob("*.png"))]
    return digest([file_digest(f) for f in files]) if all(f.is_file() for f in files) else ""


def _pictures(page: Path) -> Path:
    return page.with_name(f"{page.stem}_files")


def _cpu_s() -> float:
    "Of this process and of the kernels that it started"
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _render(name: str, parameters: dict, again: bool) -> tuple:
    "One report, in a process of its own: what it is made of, and what to say of it"
    from hrft.core import read_json
    from hrft.report import render

    start, began, made = time.perf_counter(), _cpu_s(), _made_of(name, parameters)
    known = read_json(MADE).get(name, {}) if MADE.is_file() else {}
    if not again and _page(name) and known == {"made of": made, "page": _page(name)}:
        return known, "as it was"
    render(name, parameters, ROOT / "reports", f"{name}-simulated", show=False)
    took = f"{time.perf_counter() - start:.0f} s, {_cpu_s() - began:.0f} s of a core"
    return {"made of": made, "page": _page(name)}, took


def main(names: list[str], full: bool, again: bool) -> int:
    "Render reports side by side and say when each stands; the exit code"
    from hrft.core import UserError, read_json, write_json

    os.chdir(ROOT)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    start, failed = time.perf_counter(), 0
    print(f"rendering {', '.join(names)}; a line as each stands", flush=True)
    with ProcessPoolExecutor(min(4, os.cpu_count() or 1), multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(_render, name, {} if full else FEWER[name], again): name for name in names}
        for done in as_completed(running):
            name = running[done]
            try:
                made, took = done.result()
                write_json(MADE, (read_json(MADE) if MADE.is_file() else {}) | {name: made})
                after = f"after {time.perf_counter() - start:.0f} s"
                print(f"{name}: reports/{name}-simulated.html ({took}; {after})", flush=True)
            except Exception as error:
                failed += 1
                print(f"{name}: FAILED, {error if isinstance(error, UserError) else repr(error)}", flush=True)
    print(f"{len(names) - failed} of {len(names)} reports stand after {time.perf_counter() - start:.0f} s")
    return min(failed, 1)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(FEWER)}; all by default")
    parser.add_argument("--full", action="store_true", help="the templates' own values instead of the fewer ones here")
    parser.add_argument("--again", action="store_true", help="render pages that are up to date too")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(FEWER):
        parser.error(f"no report {', '.join(sorted(unknown))}; expected some of {', '.join(FEWER)}")
    sys.exit(main(asked.names or list(FEWER), asked.full, asked.again))

"""The whole check: modules match notebooks, notebooks run, repository rules hold.

Each line of the summary is one check with its seconds; the last line counts them. What takes long is shared out to two
processes, a task each time one is free, the longest first; the slowest cells of notebooks stand at the end. Runs from
any folder, in the environment of `make setup`.
"""

import ast
import configparser
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from importlib import metadata
from pathlib import Path

import nbformat
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

from cells import Cell, slowest  # noqa: E402

BIN = Path(sys.executable).parent
LONGEST_MODULE, LONGEST_NOTEBOOK, LONGEST_FUNCTION, LARGEST_FILE_KB = 550, 400, 40, 2048  # lines; of a function's body
FLOORS, NO_MODULES = ("core", "logs"), ("reports", "trials", "tutorials", "__pycache__")
DATA = re.compile(r"\.(parquet|npz|tar|zip|fit|tcx|gpx|hdf5|h5|pth|pkl|pt)$")


@cache
def tracked() -> list:
    "Files that git tracks, or would"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split("\n")
    return [f for f in listed if f and (ROOT / f).is_file()]


@cache
def cells_of(path: Path) -> list:
    "A notebook's cells"
    return nbformat.read(path, as_version=4).cells


def notebooks(*rooms: str) -> list:
    "Notebooks of some folders of nbs/, all by default, in the order of their numbers"
    rooms = rooms or [p.name for p in sorted((ROOT / "nbs").iterdir()) if p.is_dir() and p.name[0] not in "._"]
    return [path for room in rooms for path in sorted((ROOT / "nbs" / room).glob("*.ipynb"))]


@cache
def modules() -> dict:
    "Exported notebooks: module name -> notebook, from the ground up: core, logs, then each study"
    studies = [p.name for p in sorted((ROOT / "nbs").iterdir()) if p.is_dir() and p.name not in (*FLOORS, *NO_MODULES)]
    found = {}
    for path in notebooks(*FLOORS, *studies):
        source = "\n".join(c.source for c in cells_of(path) if c.cell_type == "code")
        if m := re.search(r"#\s*\|\s*default_exp\s+(\S+)", source):
            found["hrft." + m.group(1)] = path
    return found


def check_export():
    "exported modules match the notebooks"
    with tempfile.TemporaryDirectory() as folder:  # notebooks run meanwhile, with the modules that are there
        for name in ("settings.ini", "hrft", "nbs"):
            source, copy = ROOT / name, Path(folder) / name
            shutil.copytree(source, copy) if source.is_dir() else shutil.copyfile(source, copy)
        subprocess.run([BIN / "nbdev_export"], cwd=folder, check=True)
        made = {f.relative_to(folder): f.read_bytes() for f in sorted(Path(folder, "hrft").rglob("*.py"))}
    return [
        f"{name} differs from its notebook; run `make export`"
        for name, text in made.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_bytes() != text
    ]


def _imported(name: str, source: Path):
    "Modules of hrft that one imports, as their full names, and whether by a star"
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        target = node.module or ""
        if node.level:
            target = ".".join([*name.split(".")[: -node.level], *([node.module] if node.module else [])])
        if target.startswith("hrft"):
            for alias in node.names:
                yield target, f"{target}.{alias.name}", alias.name == "*"


def check_imports():
    "imports point to lower numbers, and no study imports another"
    found, wrong = modules(), []
    order = list(found)
    for i, (name, path) in enumerate(found.items()):
        for module, member, star in _imported(name, ROOT / (name.replace(".", "/") + ".py")):
            target = module if module in found else member
            if star:
                wrong.append(f"{path.name} has a star import in the library")
            if target not in found:
                continue
            room = found[target].parent.name
            if room not in (*FLOORS, path.parent.name):
                wrong.append(f"{path.parent.name}/{path.name} imports another study, {target}")
            elif order.index(target) >= i:
                wrong.append(f"{path.parent.name}/{path.name} imports {target}, which has no lower number")
    return wrong


def check_numbers():
    "the notebooks of a room are numbered without gaps or doubles, and a letter marks one that goes on with another"
    wrong = []
    for room in {path.parent.name for path in notebooks()} - {"reports"}:
        marks = [re.match(r"(\d\d)([b-z]?)_", path.name) for path in notebooks(room)]
        found = [(int(m[1]), m[2]) for m in marks if m]
        due = [number for number, letter in found if not letter] == [*range(len({n for n, _ in found}))]
        parts = {n: "".join(letter for number, letter in found if number == n) for n, _ in found}
        if not due or len(found) < len(marks) or not all("bcdefgh".startswith(own) for own in parts.values()):
            wrong.append(f"nbs/{room} has {', '.join(path.name.partition('_')[0] for path in notebooks(room))}")
    return wrong


def check_sizes():
    "modules and notebooks stay short, files small"
    wrong = [
        f"{f.relative_to(ROOT)} has {n} lines; move its walls"
        for f in (ROOT / "hrft").rglob("*.py")
        if f.name != "_modidx.py" and (n := _lines(f)) > LONGEST_MODULE
    ]
    wrong += [
        f"{path.relative_to(ROOT)} has {n} lines; let it go on in a second one"
        for path in notebooks()
        if (n := sum(len(c.source.splitlines()) for c in cells_of(path))) > LONGEST_NOTEBOOK
    ]
    return wrong + [
        f"{f} has {kb} kB" for f in tracked() if (kb := (ROOT / f).stat().st_size // 1024) > LARGEST_FILE_KB
    ]


def _lines(source: Path) -> int:
    "Lines of a module, without the marks of nbdev between cells"
    return sum(not line.startswith("# %%") for line in source.read_text(encoding="utf-8").splitlines())


def check_functions():
    "no function is longer than 40 lines, and the arguments of public ones have types"
    wrong, trees = [], {}
    for name in modules():
        source = ROOT / (name.replace(".", "/") + ".py")
        trees[source.relative_to(ROOT)] = ast.parse(source.read_text(encoding="utf-8"))
    classes = {n.name: n for tree in trees.values() for n in tree.body if isinstance(n, ast.ClassDef)}
    for source, tree in trees.items():
        given = {m for c in tree.body if isinstance(c, ast.ClassDef) for m in c.body if _overrides(m, c, classes)}
        outer = [*tree.body, *(n for c in tree.body if isinstance(c, ast.ClassDef) for n in c.body)]
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            where = f"{source}:{node.lineno} {node.name}"
            if (n := node.end_lineno - body[0].lineno + 1) > LONGEST_FUNCTION:
                wrong.append(f"{where} has {n} lines")
            arguments = [*node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            if bare and node in outer and node not in given and not node.name.startswith("_"):
                wrong.append(f"{where} says no type of {', '.join(bare)}")
    return wrong


def _overrides(method, owner, classes) -> bool:
    "Whether a method has its types from one of hrft's classes that its own class extends"
    name = getattr(method, "name", "")
    for base in owner.bases:
        above = classes.get(ast.unparse(base).partition("[")[0])
        if above and (any(getattr(m, "name", "") == name for m in above.body) or _overrides(method, above, classes)):
            return True
    return False


def _tool(*words: str) -> list:
    "What a tool complains of"
    done = subprocess.run([BIN / words[0], *words[1:]], cwd=ROOT, capture_output=True, text=True)
    return [] if done.returncode == 0 else (done.stdout or done.stderr).strip().splitlines()[-40:]


def check_format():
    "notebooks are formatted, and ruff finds nothing in them and in the modules"
    places = ["nbs", ".ci", "benchmarks", "setup.py"]
    return _tool("ruff", "format", "--check", "--quiet", *places) + _tool(
        "ruff", "check", "--quiet", "--output-format", "concise", "hrft", *places
    )


def check_types():
    "types agree, as pyright sees them with the pandas of Python 3.11 on"
    return [] if sys.version_info < (3, 11) else _tool("basedpyright", "--level", "error")


def check_data():
    "no recordings, weights or pickles of others in the repository"
    return [f for f in tracked() if DATA.search(f) and not f.startswith("data/sample/")]


def check_paths():
    "no path of one machine in what is committed"
    own = re.compile(r"(?<![\w.])/(?:work|tmp|root|home/\w+|Users/\w+)/")
    skip = ("data/sample/", ".ci/check.py", "LICENSE")
    wrong = []
    for f in tracked():
        if f.startswith(skip) or not f.endswith(
            (".py", ".md", ".toml", ".ipynb", ".html", ".yml", ".ini", ".txt", "Makefile", "run")
        ):
            continue
        text = re.sub(
            r"data:image/png;base64,[A-Za-z0-9+/=\\n]+|\"image/png\": \"[^\"]*\"",
            "",
            (ROOT / f).read_text(encoding="utf-8"),
        )
        if m := own.search(text):
            wrong.append(f"{f} holds {text[m.start() : m.start() + 40]!r}")
    return wrong


def check_templates():
    "report templates have one cell of literal parameters, no def, and import the report module and one study"
    wrong = []
    for path in sorted((ROOT / "nbs/reports").glob("*.ipynb")):
        cells = [c for c in cells_of(path) if c.cell_type == "code"]
        tagged = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
        if len(tagged) != 1:
            wrong.append(f"{path.name} has {len(tagged)} parameters cells")
        try:
            [ast.literal_eval(n.value) for c in tagged for n in ast.parse(c.source).body]
        except (ValueError, AttributeError):
            wrong.append(f"{path.name}: parameters are not literals")
        source = "\n".join(re.sub(r"^[%!].*$", "", c.source, flags=re.M) for c in cells)
        if re.search(r"^\s*(def|class) ", source, re.M):
            wrong.append(f"{path.name} defines functions or classes")
        rooms = {
            nb.parent.name
            for name, nb in modules().items()
            if name.split(".")[1] in re.findall(r"from hrft\.(\w+)", source)
        }
        studies = rooms - set(FLOORS)
        if len(studies) > 1:
            wrong.append(f"{path.name} imports {len(studies)} studies: {', '.join(sorted(studies))}")
    return wrong


def check_clean():
    "notebooks are clean: no metadata of one session, nothing that failed"
    wrong = []
    for path in [ROOT / "nbs/index.ipynb", *notebooks()]:
        for c in cells_of(path):
            if set(c.metadata) - {"tags"}:
                wrong.append(f"{path.name} has cell metadata {set(c.metadata)}; run `make export`")
            elif any(o.output_type == "error" for o in c.get("outputs", [])):
                wrong.append(f"{path.name} shows an error")
    return wrong


def check_readme():
    "README.md is what nbs/index.ipynb gives"
    from readme import readme

    return (
        [] if (ROOT / "README.md").read_text(encoding="utf-8") == readme() else ["README.md differs; run `make readme`"]
    )


def check_light_import():
    "help loads no pandas; files are read, and logs diagnosed and compared, without torch"
    heavy = {"torch", "fastai", "sklearn", "scipy.stats"}
    cases = {  # -> what it must not load
        "--help": heavy | {"pandas"},
        f"ingest {ROOT}/data/sample/run_simulated.tcx --out store --person me": heavy | {"matplotlib"},
        "store store": heavy,
        "diagnose first.csv": heavy | {"matplotlib"},
        "compare first.csv second.csv": heavy,
    }
    wrong, env = [], os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        for i, name in enumerate(("first", "second")):
            rows = [f"{epoch},{1 / epoch},{1 / epoch + i / 9 + epoch % 3 / 99}\n" for epoch in range(1, 30)]
            (Path(folder) / f"{name}.csv").write_text("epoch,train_loss,valid_loss\n" + "".join(rows))
        for words, never in cases.items():
            code = f"import sys, hrft.cli; print(hrft.cli.main({words.split()}), *{never} & set(sys.modules))"
            done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
            last = (done.stdout.splitlines() or [done.stderr])[-1]
            wrong += [f"`hrft {words}` ends with {last}; expected 0, and nothing of {never}"] if last != "0" else []
    return wrong


def _distributions(requirements: str) -> set:
    "What some requirements bring: themselves, and what they in turn require"
    named = {canonicalize_name(Requirement(each).name) for each in requirements.split()} - {"tomli"}
    inner = [Requirement(each) for name in named for each in metadata.requires(name) or []]
    return named | {canonicalize_name(each.name) for each in inner if "extra" not in str(each.marker)}


def check_extras():
    "what the library imports comes with every installation, or is imported within its `extra`"
    settings, origin, wrong = configparser.ConfigParser(delimiters=["="]), metadata.packages_distributions(), []
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    base, python = _distributions(settings["DEFAULT"]["requirements"]), {*sys.stdlib_module_names, "tomli", "tomllib"}
    for source in sorted((ROOT / "hrft").rglob("*.py")):
        nodes, extras = list(ast.walk(ast.parse(source.read_text(encoding="utf-8")))), {}
        for node in nodes:
            if isinstance(node, ast.With) and ast.unparse(node.items[0]).startswith("extra("):
                brought = _distributions(settings["extras"][node.items[0].context_expr.args[0].value])
                extras |= {id(inner): brought for inner in node.body}
        for node in nodes:
            modules = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {module.partition(".")[0] for module in modules} - python - {"hrft"}:
                if not {canonicalize_name(each) for each in origin.get(name, [])} & {*base, *extras.get(id(node), ())}:
                    wrong.append(f"{source.relative_to(ROOT)}, line {node.lineno}: {name} is not required there")
    return wrong


# What takes long: so many tasks for the two processes, by name


def road_tasks() -> dict:
    "README's way from an export to a prediction works, and says what is missing where runs are few"
    from road import ENOUGH, FEW, check_walk

    return {f"{n} workouts": partial(check_walk, n) for n in (ENOUGH, *FEW)}


def notebook_tasks() -> dict:
    "every notebook runs"
    paths = [ROOT / "nbs/index.ipynb", *(path for path in notebooks() if path.parent.name != "reports")]
    return {f"{path.parent.name}/{path.stem}": partial(_cells, path) for path in paths}


def _cells(path: Path) -> list:
    "What fails in a notebook; its cells' seconds are kept for the end"
    from cells import run

    ran, failed = run(path)
    with open(Path(os.environ["HRFT_CACHE"]) / "cells.jsonl", "a") as file:
        file.writelines(json.dumps(cell) + "\n" for cell in ran)
    return failed.splitlines()


_FEW_PIXELS = ["data.frames=8", "data.height=16", "data.width=24", "stages.0.epochs=2"]
_FEW_EPOCHS = ["data.images.size=40", "stages.pretrain.epochs=2", "stages.final.epochs=1"]
_FEW_EPOCHS += ["stages.pretrain.warmup_steps=2", "stages.final.warmup_steps=2"]
_FEW_WEIGHTS = ["model.width=16", "model.layers=1", "stages.0.warmup_steps=5"]
_REPORTS = {  # case -> template and parameters; `store` is filled in
    "clouds": {
        "kind": "tiny",
        "settings": _FEW_EPOCHS,
        "overweights": [3.5],
        "others": [],
        "alternatives": {},
        "labels": [0, 8],
        "adapt": ["data.gap=2", "data.adapt_from=8", "stages.adapt.epochs=2"],
    },
    "heart": {"store": "", "person": "watch", "recipes": ["heart/plain", "heart/base"], "seeds": 1},
    "ablations": {
        "store": "",
        "min_workouts": 5,
        "n_people": 2,
        "base_epochs": 1,
        "personal_epochs": 1,
        "personal_workouts": [4],
        "ablation_seeds": 1,
        "base_topics": ["loss"],
        "personal_topics": ["stage"],
    },
    "faces": {
        "recipes": ["faces/base", "faces/dice-2.0"],
        "long_changes": "",
        "changes": "data.size_px=32 data.validation=8 data.test=10 stages.0.epochs=4 stages.0.batch_size=6"
        " stages.0.warmup_steps=2 stages.0.ema_decay=0.5",
    },
    "lips": {"n_folds": 3, "changes": _FEW_PIXELS, "resumed_changes": _FEW_PIXELS, "resumes_epochs": 1},
    "survey": {
        "changes": [*_FEW_WEIGHTS, "stages.0.epochs=1"],
        "n_folds": 2,
        "seeds": 1,
        "balanced_seeds": 1,
        "grid_changes": _FEW_WEIGHTS,
        "multipliers": [0.6, 0.75],
        "balances": [2.0],
        "grid_seeds": 1,
        "asked": 100,
    },
    "one-person": {"store": "", "person": "watch", "recipes": []},
}


def report_tasks() -> dict:
    "every report template renders on tiny simulated data"
    return {f"report {case}": partial(_report, case) for case in _REPORTS}


def _report(case: str) -> list:
    "What is wrong with one report's page, and after the heart report with those that are about its runs"
    from hrft.heart.simulate.archives import simulated_store

    folder, parameters = Path(os.environ["HRFT_CACHE"]), dict(_REPORTS[case])
    if "store" in parameters:
        parameters["store"] = str(simulated_store(ROOT / "data/simulated", "tiny").path)
    page = _render(case, "heart" if case == "one-person" else case, parameters | {"runs": str(folder / "runs" / case)})
    wrong = [] if "SIMULATED" in page else [f"{case} does not say SIMULATED"]
    if case == "heart":
        trained = [str(p.parent) for p in sorted((folder / "runs/heart/heart").glob("*/metrics.json"))]
        page += _render("runs", "runs", {"logs": trained[:2], "names": ["first", "second"]})
        page += _render("diagnosis", "diagnosis", {"run": trained[0]})
    return wrong


def _render(case: str, name: str, parameters: dict) -> str:
    "The page of one report, which shows a picture with words"
    from hrft.report import render

    folder = Path(os.environ["HRFT_CACHE"]) / "reports"
    page = render(name, parameters, folder, case, ("ipynb", "md", "html"), show=False)["md"].read_text("utf-8")
    assert re.search(r"!\[(?!png)[^\]]+\]", page), f"{case} shows no picture with words"
    return page


RULES = [
    check_imports,
    check_numbers,
    check_sizes,
    check_functions,
    check_format,
    check_data,
    check_paths,
    check_templates,
    check_clean,
    check_readme,
    check_light_import,
    check_extras,
]
TASKS = [road_tasks, report_tasks, notebook_tasks]
PRELOADED = ["check", "fastai.callback.all", "nbdev.process", "execnb.shell", "matplotlib.pyplot", "sklearn.ensemble"]
LONGEST = [  # tasks that begin first: then none of the two processes waits for the other at the end
    "types",
    "report clouds",
    "24 workouts",
    "report heart",
    "report lips",
    "report ablations",
    "report faces",
    "report survey",
    "report one-person",
    "trials/00_guarantees",
    "core/24_sweep",
    "heart/45_study",
    "heart/52_results.folds",
    "heart/56_results.ablations",
    "trials/03_outside",
    "trials/01_lips_resume",
    "clouds/08_study",
    "heart/45b_study.evaluation",
    "heart/45c_study.prediction",
    "tutorials/04_twenty_people",
    "tutorials/00_my_watch",
    "tutorials/02_new_study",
    "trials/11_jupyterlab",
    "core/31b_loggers.tested",
    "core/17c_train.promises",
]


def _task(run) -> tuple:
    "What a task complains of, and its seconds"
    start = time.perf_counter()
    try:
        found = run()
    except Exception as error:
        found = [f"{type(error).__name__}: {error}"]
    return found, time.perf_counter() - start


def _told(words: str, found: list, seconds: float) -> int:
    "Say how a check ended; how many have failed by it"
    print(f"{'FAILED' if found else 'passed'}  {words} ({seconds:.0f} s)", flush=True)
    for line in found:
        print(f"        {line}", flush=True)
    return bool(found)


def _many() -> int:
    "What takes long, in two processes; how many checks failed"
    kinds = {check_export: {"export": check_export}, check_types: {"types": check_types}}
    kinds |= {tasks: tasks() for tasks in TASKS}
    order = LONGEST + sorted(name for own in kinds.values() for name in own if name not in LONGEST)
    failed, left, found, seconds = 0, {kind: len(own) for kind, own in kinds.items()}, {}, {}
    # a process a task, so that no notebook sees what another did; the large libraries are loaded once, before it begins
    context, alone = multiprocessing.get_context("forkserver"), {"max_tasks_per_child": 1}
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(2, context, **(alone if sys.version_info >= (3, 11) else {})) as pool:
        all_tasks = {name: (kind, run) for kind, own in kinds.items() for name, run in own.items()}
        running = {pool.submit(_task, all_tasks[name][1]): name for name in order if name in all_tasks}
        failed += sum(_told(rule.__doc__, *_task(rule)) for rule in RULES)
        for done in as_completed(running):
            name = running[done]
            kind = all_tasks[name][0]
            killed = [f"{name}: {done.exception()}"], 0.0
            complaints, seconds[name] = killed if done.exception() else done.result()
            found[kind] = found.get(kind, []) + complaints
            left[kind] -= 1
            if not left[kind]:
                failed += _told(kind.__doc__, found[kind], sum(seconds[each] for each in kinds[kind]))
    print("slowest tasks:", *(f"{seconds[n]:6.1f} s  {n}" for n in sorted(seconds, key=seconds.get)[:-16:-1]), sep="\n")
    return failed


def main():
    start = time.perf_counter()
    tracked()  # remembered from before notebooks write anything
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HRFT_CACHE": folder, "OMP_NUM_THREADS": "1", "IN_TEST": "1", "MPLBACKEND": "Agg"}
        os.environ |= {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / '.ci'}",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        failed = _many()
        lines = (Path(folder) / "cells.jsonl").read_text().splitlines()
    print("slowest cells:", *slowest([Cell(*json.loads(line)) for line in lines]), sep="\n")
    n = len(RULES) + 2 + len(TASKS)
    print(f"{n - failed} passed, {failed} failed, {time.perf_counter() - start:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    import check  # under its own name, as the workers know it

    check.main()

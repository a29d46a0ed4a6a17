"""README's three ways in, walked literally: the lines of its code blocks are run as they stand there

The way of a runner by somebody with enough runs, and by people with two, five and fourteen; then JupyterLab's and that
of another tool's log.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENOUGH, FEW = 24, (2, 5, 14)  # workouts in the export; of 24 some 18 are usable runs
RUNNER, LAB, LOGS = "You run, and have a watch", "You work in JupyterLab", "You have another tool's log"


def block(heading: str, language: str) -> str:
    "README's code block under a heading"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split(f"\n### {heading}\n")[1].split("\n#")[0]
    return re.search(rf"```{language}\n(.*?)```", section, re.S)[1]


def commands(heading: str) -> list:
    "The words of each command in README's block under a heading"
    found = [shlex.split(line, comments=True) for line in block(heading, "sh").splitlines()]
    return [words for words in found if words and words[0] == "hrft"]


def walk(n_workouts: int, folder: Path) -> list:
    "What went wrong on a runner's way with an export of so many workouts"
    from hrft.heart.simulate.archives import write_apple_export

    folder.mkdir()
    write_apple_export(folder / "export.zip", n_workouts, 3)
    wrong = []
    for words in commands(RUNNER):
        for name in words:  # a file to read that is not there yet is a new workout
            if re.fullmatch(r"\w+\.(fit|tcx|gpx)", name):
                shutil.copyfile(ROOT / f"data/sample/run_simulated.{name[-3:].replace('fit', 'tcx')}", folder / name)
        code, out, err = _as_typed(words, folder) if n_workouts == ENOUGH else _here(words, folder)
        said, name = err.strip().splitlines(), f"{n_workouts} workouts, `{' '.join(words)}`"
        if code == 0:
            wrong += _unended(name, out, err)
            if words[1] == "personalize" and not re.search("^Use ", out, re.M):
                wrong.append(f"{name} has no verdict")
        elif n_workouts == ENOUGH or code != 2 or len(said) != 1 or not said[0].startswith("hrft: "):
            wrong.append(f"{name}: exit code {code}: {' / '.join(said[-3:])}")
    return wrong + (_lab(folder) + _logs(folder) if n_workouts == ENOUGH else [])


def _unended(name: str, *said: str) -> list:
    "A command that does not end with what to do next, or with words that somebody would have to replace"
    last = next((text.splitlines()[-1] for text in said if text and text.splitlines()[-1].startswith("next: ")), "")
    if not last:
        return [f"{name} does not end with what to do next"]
    blank = re.search(r"\b[A-Z]{3,}\b", last.partition("#")[0])
    return [f"{name} ends with {last!r}, which cannot be pasted"] if blank else []


def _lab(folder: Path) -> list:
    "What went wrong with the cell for JupyterLab, on what the runner has made"
    done = _python(["-c", block(LAB, "python")], folder)
    return [f"README's cell for JupyterLab: {done.stderr.strip().splitlines()[-1]}"] if done.returncode else []


def _logs(folder: Path) -> list:
    "What went wrong with two seeds of a training and a report about them"
    (folder / "logs").mkdir()
    for seed in (0, 1):
        rows = "".join(f"{n},{1 / n + seed / 50:.3f},{1.1 / n + seed / 40:.3f}\n" for n in range(1, 9))
        (folder / f"logs/base-seed{seed}.csv").write_text(f"epoch,train_loss,valid_loss\n{rows}")
    (folder / "report.md").write_text("# A training\n\nThe final validation loss of base-seed0 is 0.138.\n")
    wrong = []
    for words in commands(LOGS):
        code, out, err = _as_typed(words, folder)
        name = f"`{' '.join(words)}`"
        wrong += _unended(name, out, err) if code == 0 else [f"{name}: exit code {code}: {err.strip()}"]
    return wrong


def _python(words: list, folder: Path) -> subprocess.CompletedProcess:
    "Python in a process of its own, as in a shell of the checkout"
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True)


def _as_typed(words: list, folder: Path) -> tuple:
    "A command in a process of its own: exit code, output, errors"
    done = _python(["-c", "import sys; from hrft.cli import main; sys.exit(main())", *words[1:]], folder)
    return done.returncode, done.stdout, done.stderr


def _here(words: list, folder: Path) -> tuple:
    "The same in this process, which has what a command imports by the second one"
    from fastcore.xtras import working_directory

    from hrft.cli import main

    with working_directory(folder), redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main(words[1:])
    return code, out.getvalue(), err.getvalue()


def check_walk(n_workouts: int) -> list:
    "What is wrong on README's way for somebody with so many workouts"
    with tempfile.TemporaryDirectory() as folder:
        return walk(n_workouts, Path(folder) / "me")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit("\n".join(line for n in (ENOUGH, *FEW) for line in check_walk(n)))

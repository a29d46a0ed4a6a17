"""README's way from an export to a prediction, walked literally

By somebody with enough runs, and by people with two, five and fourteen.
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


def commands() -> list:
    "The words of each command in README's block under `Your own heart`"
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Your own heart\n")[1].split("\n## ")[0]
    lines = re.search(r"```sh\n(.*?)```", section, re.S)[1].splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    return [words for words in found if words and words[0] == "hrft"]


def walk(n_workouts: int, folder: Path) -> list:
    "What went wrong on the way with an export of so many workouts"
    from hrft.heart.simulate.archives import write_apple_export

    folder.mkdir()
    write_apple_export(folder / "export.zip", n_workouts, 3)
    wrong = []
    for words in commands():
        for name in words:  # a file to read that is not there yet is a new workout
            if re.fullmatch(r"\w+\.(fit|tcx|gpx)", name):
                shutil.copyfile(ROOT / f"data/sample/run_simulated.{name[-3:].replace('fit', 'tcx')}", folder / name)
        code, out, err = _as_typed(words, folder) if n_workouts == ENOUGH else _here(words, folder)
        said, name = err.strip().splitlines(), f"{n_workouts} workouts, `{' '.join(words)}`"
        if code == 0:
            last = (out + err).strip().splitlines()[-1]
            if not last.startswith("next: "):
                wrong.append(f"{name} ends with {last!r}, not with what to do next")
            if words[1] == "personalize" and "\nUse " not in out:
                wrong.append(f"{name} has no verdict")
        elif n_workouts == ENOUGH or code != 2 or len(said) != 1 or not said[0].startswith("hrft: "):
            wrong.append(f"{name}: exit code {code}: {' / '.join(said[-3:])}")
    return wrong


def _as_typed(words: list, folder: Path) -> tuple:
    "A command in a process of its own: exit code, output, errors"
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    code = "import sys; from hrft.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *words[1:]], cwd=folder, env=env, capture_output=True, text=True)
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

"""Notebooks as tests: every cell runs, and its seconds are kept

`python .ci/cells.py nbs/heart/45_study.ipynb ...` runs some of them by hand and lists their slowest cells.
"""

import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = {"notest", "slow"}  # directives of cells that are no test


class Cell(NamedTuple):
    "A cell that ran"

    seconds: float
    notebook: str  # such as heart/45_study.ipynb
    number: int  # of the notebook's cells, from 0
    begins: str  # its first line of code


def run(
    path: str | Path,  # a notebook
) -> tuple[list[Cell], str]:  # and what failed, '' where nothing did
    "Run a notebook's cells in this process, in the notebook's folder"
    import matplotlib.pyplot as plt
    from execnb.shell import CaptureShell
    from fastcore.xtras import working_directory
    from nbdev.process import NBProcessor

    path, ran = Path(path).resolve(), []
    shell, name = CaptureShell(path, mpl_format="png"), f"{path.parent.name}/{path.name}"
    with working_directory(path.parent):
        for cell in NBProcessor(path, process=True).nb.cells:
            directives = getattr(cell, "directives_", None) or {}
            if cell.cell_type != "code" or SKIPPED & directives.keys() or directives.get("eval:") == ["false"]:
                continue
            if "nbdev_export(" in cell.source:
                continue
            start = time.perf_counter()
            shell.cell(cell)
            code = [line for line in cell.source.splitlines() if line and line[0] not in "#%"]
            ran.append(Cell(time.perf_counter() - start, name, cell.idx_, next(iter(code), "")))
            if shell.exc:
                plt.close("all")
                return ran, f"{name}, cell {cell.idx_}:\n{''.join(traceback.format_exception(shell.exc))}"
    plt.close("all")
    return ran, ""


def slowest(
    cells: list[Cell],
    n: int = 10,  # at most
) -> list[str]:
    "The slowest cells, a line each"
    return [
        f"{cell.seconds:5.1f} s  {cell.notebook}, cell {cell.number}: {cell.begins[:60]}"
        for cell in sorted(cells, reverse=True)[:n]
    ]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    ran, failed = zip(*map(run, sys.argv[1:]))
    print("\n".join([*slowest([cell for cells in ran for cell in cells]), *filter(None, failed)]))
    sys.exit(any(failed))

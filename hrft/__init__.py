"""hrft: which stage of training should I keep, and can I trust the number?

The names that a notebook begins with, each loaded when it is asked for:

    from hrft import Store, ingest, personalize    # a runner's files, their store, a model that follows them
    from hrft import Run, find_recipe, fit, render # trainings and reports of any study
    from hrft import diagnose, read_log            # training logs of any tool

Everything else is imported from its module: `hrft.explore` for JupyterLab, `hrft.heart`, `hrft.clouds`, `hrft.faces`,
`hrft.lips` and `hrft.survey` for the studies, `hrft.watch` for other people's trainers.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from hrft.heart.files.ingest import ingest
    from hrft.heart.files.store import Store
    from hrft.heart.study import personalize
    from hrft.logs.diagnose import diagnose
    from hrft.logs.readers import read_log
    from hrft.registry import find_recipe
    from hrft.report import render
    from hrft.runfolder import Run
    from hrft.train import fit

_MODULES = {
    "Run": "runfolder",
    "Store": "heart.files.store",
    "diagnose": "logs.diagnose",
    "find_recipe": "registry",
    "fit": "train",
    "ingest": "heart.files.ingest",
    "personalize": "heart.study",
    "read_log": "logs.readers",
    "render": "report",
}
__all__ = ["Run", "Store", "diagnose", "find_recipe", "fit", "ingest", "personalize", "read_log", "render"]


def __getattr__(name: str):
    "A name of the first hour, from its module"
    if name not in _MODULES:
        raise AttributeError(f"module 'hrft' has no attribute {name!r}")
    return getattr(import_module(f"hrft.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]

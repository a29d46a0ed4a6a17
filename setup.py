"Package hrft. Every fact comes from settings.ini; exact versions are in constraints.txt."

import configparser
import shlex
from pathlib import Path

from setuptools import find_packages, setup

settings = configparser.ConfigParser(delimiters=["="])
settings.read("settings.ini", encoding="utf-8")
cfg = settings["DEFAULT"]
readme = Path("README.md")
extras = {name: settings["extras"][name].split() for name in settings["extras"] if name not in settings.defaults()}
extras["all"] = sum((own for name, own in extras.items() if name != "bench"), [])  # peers are for `make benchmarks`

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else cfg["description"],
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    license="Apache-2.0",
    keywords=cfg["keywords"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering",
    ],
    packages=[*find_packages(include=["hrft", "hrft.*"]), "hrft.templates"],
    package_dir={"hrft.templates": "nbs/reports"},  # report templates travel with the package
    package_data={  # what a study brings lies beside its module
        "": ["py.typed", "*.json", "recipes/*.toml", "recipes/spaces/*.toml", "weights/*/*", "codebooks/*.toml"]
        + ["reports/*.ipynb"],
        "hrft.templates": ["*.ipynb"],
    },
    install_requires=cfg["requirements"].split(),
    extras_require={"dev": cfg["dev_requirements"].split() + extras["all"], **extras},
    python_requires=f">={cfg['min_python']}",
    entry_points={
        "console_scripts": shlex.split(cfg["console_scripts"]),
        "nbdev": ["hrft=hrft._modidx:d"],
        "hrft.studies": shlex.split(cfg["studies"]),
        "hrft.commands": shlex.split(cfg["commands"]),
        "hrft.explorers": shlex.split(cfg["explorers"]),
    },
    zip_safe=False,
)

# hrft: `make reports` and `make test` work on a fresh machine with Python 3.10 or newer.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# one thread: these networks are small, and two trainings of two threads on two cores stand in each other's way
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup test reports benchmarks readme docs export clean
help:  ## what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ \t/' | expand -t 12

setup: $(STAMP)  ## make .venv and install hrft with its tools
$(STAMP): settings.ini setup.py constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else f"hrft needs Python 3.10 or newer, this is {v[0]}.{v[1]}; try: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)
	@echo 'hrft is installed; next: . $(BIN)/activate && hrft'

test: $(STAMP)  ## modules match notebooks, notebooks run, repository rules hold
	$(BIN)/python .ci/check.py

reports: $(STAMP)  ## the reports on the embedded, simulated default (FULL=1: larger, AGAIN=1: unchanged ones too, REPORTS="heart lips")
	$(BIN)/python .ci/reports.py $(REPORTS) $(if $(FULL),--full) $(if $(AGAIN),--again)

benchmarks: $(STAMP)  ## measure and render reports/speed.md; FAST=1 in some minutes
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python benchmarks/speed.py --measure $(if $(FAST),--fast)

readme: $(STAMP)  ## README.md from nbs/index.ipynb
	$(BIN)/python .ci/readme.py

docs: $(STAMP)  ## the site into _docs/, from what is stored in notebooks and reports; its links are checked
	$(BIN)/python .ci/docs/make_site.py

export: $(STAMP)  ## modules from notebooks, then clean the notebooks
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

clean:  ## what can be made again
	rm -rf $(VENV) hrft.egg-info build dist _proc _docs

# Two commands: `make run` predicts BERT-base on this machine, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test test-slow test-real notebooks lint bench accuracy accuracy-keep calibrations \
        residuals clean

run: $(VENV)/.run
	$(BIN)/moments run bert-base --on host --prompt 8 --gantt out/gantt.png --trace out/trace.json

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m "not slow and not real"

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m "slow and not real"

test-real: $(VENV)/.real
	$(BIN)/python -m pytest -q -m "real"

notebooks: $(VENV)/.real
	$(BIN)/python notebooks/execute.py

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.run
	$(BIN)/python -m benchmarks

accuracy: $(VENV)/.run
	$(BIN)/python -m benchmarks.accuracy ../shared/measurements

accuracy-keep: $(VENV)/.run
	$(BIN)/python -m benchmarks.accuracy --keep ../shared/measurements

calibrations: $(VENV)/.run
	$(BIN)/python -m benchmarks.calibrations ../shared/measurements/operators.csv.gz

residuals: $(VENV)/.run
	$(BIN)/python -m benchmarks.residuals ../shared/measurements

clean:
	rm -rf $(VENV) out .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) --editable ".[dev]"
	touch $@

$(VENV)/.real: $(VENV)/.dev
	$(PIP) --editable ".[dev,real,notebooks]"
	touch $@

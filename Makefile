# Two commands for newcomers: `make demo` and `make test`. `make help` lists the rest.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
RUN ?= runs/demo
WORKERS ?= 2

.PHONY: help demo test lint types wheel docs install dev clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/'

# torch by its exact version first: a range would let the resolver take another build of it
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) -e .
	touch $@

$(VENV)/developing: $(VENV)/installed
	$(PIP) -e '.[dev,las,av2,fast,kiss,dask,web,video,docs,search]'
	touch $@

install: $(VENV)/installed  ## make .venv with pcinv in it

dev: $(VENV)/developing  ## the same, with what tests and checks need

demo: install  ## align two scans, train on generated shapes, measure, classify a file; a few minutes
	$(BIN)/pcinv register data/samples/room_a.ply data/samples/room_b.ply
	$(BIN)/pcinv train --backbone risurconv --epochs 4 -o $(RUN) --force
	$(BIN)/pcinv eval $(RUN) --rotation so3
	$(BIN)/pcinv check $(RUN) --rotations 40
	$(BIN)/pcinv predict $(RUN) data/samples/chair.ply data/samples/mug.xyz data/samples/bolt.off
	@echo
	@echo "results: $(RUN) (metrics.jsonl, config.toml, checkpoints/)"

test: dev  ## the whole test suite
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: dev  ## ruff
	$(BIN)/ruff check .

types: dev  ## mypy, strict on geometry, ops, io and engine
	$(BIN)/mypy

wheel: dev  ## build wheel and sdist, install them into empty environments, use them
	$(BIN)/python .ci/check_wheel.py

docs: dev  ## build the site into site/
	$(BIN)/mkdocs build --strict

clean:  ## remove what was built, but no runs
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One-word commands; CI calls the same ones.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
DATA ?= data/demo
SIZE ?= 10000000
POPULATIONS ?= P1,P2,P3
REGISTERED ?= 1000000

.PHONY: setup run test lint format proto sim fuzz bench docs peers clean

setup: .venv/.stamp

.venv/.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -c 'import importlib.util as u; print("engine: native" if u.find_spec("eir_core") else "engine: portable (the native reader is not built)")'
	@touch $@

run: setup
	$(BIN)/python -m eir demo --data-dir $(DATA) --registered $(REGISTERED)
	exec $(BIN)/eir serve --data-dir $(DATA)

test: setup peers
	HYPOTHESIS_PROFILE=ci $(BIN)/python -m pytest -q -m 'not sim'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf breaking --against eir/proto/published.binpb
	./eir/proto/check_generated.sh

format: setup
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

proto: setup
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. eir/proto/*.proto

sim: setup
	$(BIN)/python -m pytest -q -m sim

fuzz: setup
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -q tests/property tests/simulation

bench: setup peers
	$(BIN)/python -m bench.all --populations $(POPULATIONS) --size $(SIZE)

docs: setup
	$(BIN)/python -m bench.report

# What tests and benchmarks talk to, beside Python: installed when root, named when missing.
peers:
	./tests/peers.sh

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

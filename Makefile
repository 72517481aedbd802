# One-word commands; CI calls the same ones.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
DATA ?= data/demo
SIZE ?= 10000000
POPULATIONS ?= P1,P2,P3
REGISTERED ?= 1000000
COMMA := ,
# What is written in Rust is left out where cargo is missing: the portable engine needs none.
CARGO := $(if $(shell command -v cargo),cargo,@echo 'cargo is not installed: left out:' cargo)
CORE := --manifest-path core/Cargo.toml
CORE_FUZZ := --manifest-path core/fuzz/Cargo.toml
FUZZ_SECONDS ?= 300

.PHONY: setup native run test lint format proto sim fuzz bench bench-peers bench-checks docs peers clean

setup: .venv/.stamp

.venv/.stamp: pyproject.toml setup.py core/Cargo.toml core/Cargo.lock $(shell find core/src -name '*.rs')
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -m eir.native
	@touch $@

# Builds the native engine in place, with the Python of .venv where that is there (setuptools-rust is in it).
native: PYTHON := $(or $(wildcard $(BIN)/python),$(PYTHON))
native:
	$(PYTHON) setup.py --quiet build_rust --inplace --release
	$(PYTHON) -m eir.native

run: setup
	$(BIN)/python -m eir demo --data-dir $(DATA) --registered $(REGISTERED)
	@# On a terminal the daemon has a process group of its own: Ctrl-C is for it, and not for make.
	@if [ -t 0 ]; then set -m; $(BIN)/eir serve --data-dir $(DATA); exit $$?; \
	else exec $(BIN)/eir serve --data-dir $(DATA); fi

test: setup peers
	$(CARGO) test --quiet $(CORE)
	$(CARGO) test --quiet --release $(CORE_FUZZ)
	@# Two at a time, whole modules each: most tests wait for daemons.
	HYPOTHESIS_PROFILE=ci $(BIN)/python -m pytest -q -m 'not sim' -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(CARGO) fmt --check $(CORE)
	$(CARGO) fmt --check $(CORE_FUZZ)
	$(CARGO) clippy --quiet --all-targets --all-features $(CORE) -- -D warnings
	$(CARGO) clippy --quiet --all-targets $(CORE_FUZZ) -- -D warnings
	$(BIN)/buf lint
	$(BIN)/buf breaking --against eir/proto/published.binpb
	./eir/proto/check_generated.sh

format: setup
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(CARGO) fmt $(CORE)
	$(CARGO) fmt $(CORE_FUZZ)

proto: setup
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. eir/proto/*.proto

sim: setup
	$(BIN)/python -m pytest -q -m sim

fuzz: setup
	$(CARGO) run --quiet --release $(CORE_FUZZ) --bin mutate -- $(FUZZ_SECONDS)
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -q tests/property tests/simulation

bench: setup peers
	$(BIN)/python -m bench.all --populations $(POPULATIONS) --size $(SIZE)

# The engines beside servers in Go, C++ and C; what cannot be built here is named and left out.
bench-peers: setup
	-./tests/peers.sh --bench
	$(BIN)/python -m bench.peers --population $(firstword $(subst $(COMMA), ,$(POPULATIONS))) --size $(SIZE)

# The budgets of checks at full size, by the native engine (docs/performance.md). It takes two idle cores, 24 GiB of
# memory and about 40 minutes; BENCH_DATA names a folder that has the data directories, or is to keep them.
bench-checks: setup
	-./tests/peers.sh --bench
	$(BIN)/python -m bench.all --suite checks --populations P1,P2 --size 300000000

docs: setup
	$(BIN)/python -m bench.report
	$(BIN)/python -m eir.notify.drawing docs/notices.md
	$(BIN)/python -m bench.sizing docs/installing.md
	$(BIN)/python deploy/grafana/make_dashboard.py

# What tests and benchmarks talk to, beside Python: installed when root, named when missing.
peers:
	./tests/peers.sh

clean:
	rm -rf .venv .build build core/target core/fuzz/target bench/loadgen/target eir/_core*.so *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis

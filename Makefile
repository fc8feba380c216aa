# make demo: set up, run the default pipeline, say what came out. make test: set up, pass the tests.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONHASHSEED := 0

.PHONY: demo test test-long test-slurm test-envs lint bench setup clean official

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ttsnap needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet 'uv>=0.9,<1'
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python -r requirements.lock
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python --no-deps -e .
	touch $@

demo: setup
	snakemake --cores all $(SNAKEMAKE_FLAGS)
	@if [ -n "$$(find results/report -newer results/report.html -print -quit 2>&1)" ]; then \
	  echo "snakemake --report results/report.html"; \
	  snakemake --cores all $(SNAKEMAKE_FLAGS) --quiet all --report results/report.html; \
	fi
	@echo
	@cat results/report/headline.txt
	@echo "Report: $(CURDIR)/results/report.html"

lint: setup
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint

# Two at a time, one thread each: twice as fast as one with two.
PYTEST := OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile

test: lint
	$(PYTEST) -m "not slurm and not long"
	@echo "Not among these: the second method's whole workflow and the embedded models' recipe (make test-long), and"
	@echo "the tests on a real Slurm (make test-slurm)."

test-long: setup
	$(PYTEST) -m long

# A real Slurm on this machine: installed where it is missing (Debian, Ubuntu; needs root), started and stopped.
test-slurm: setup
	@command -v slurmctld >/dev/null || test -x /usr/sbin/slurmctld || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null; }
	pytest tests/workflow/test_slurm.py -v

# Each environment file installed for itself, and a module of its rules run there (gigabytes; needs Python 3.11).
test-envs: setup
	TTSNAP_ENVS=1 pytest tests/workflow/test_envs.py -v

bench: setup
	mkdir -p results/bench
	OMP_NUM_THREADS=1 python benchmarks/simulate.py --json results/bench/simulate.json
	python benchmarks/assign.py --json results/bench/assign.json

# The official image-reward and hpsv2 packages, and the tests of our scores against theirs (5.5 GB of CUDA torch).
OFFICIAL ?= .venv-official
official: setup
	uv venv --allow-existing --python 3.11 $(OFFICIAL)
	python -c 'import yaml; print(*yaml.safe_load(open("envs/reward-official.yaml"))["dependencies"][-1]["pip"], sep="\n")' \
	  > $(OFFICIAL)/requirements.txt
	UV_BUILD_CONSTRAINT=envs/build-constraints.txt uv pip install --compile-bytecode --python $(OFFICIAL)/bin/python -r $(OFFICIAL)/requirements.txt
	TTSNAP_OFFICIAL=$(abspath $(OFFICIAL)/bin/python) pytest tests/rewards/test_parity.py -v -rs

clean:
	rm -rf results .snakemake

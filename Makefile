# Each target is one line that also works alone; `make help` lists them. CLUSTER=kind|lab|context:NAME for demo.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$p && break; done)
PY := .venv/bin/python
HAZD := .venv/bin/hazd
FIXES := --with-prestop --with-readiness --with-graceful-shutdown
.DEFAULT_GOAL := help
.PHONY: help setup venv demo check test unit wire contract lab kind e2e nightly report bench bench-setup bench-fidelity clean

help: ## what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: ## install and start Docker, get kind and debootstrap (root or sudo; does nothing twice)
	setup/docker && setup/kind

venv: .venv/.stamp ## the virtual environment, with hazd and everything the tests need

.venv/.stamp: pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer: install one, or say PYTHON=..." >&2; exit 3; }
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install -q --upgrade 'pip>=25.1' && $(PY) -m pip install -q -e . --group dev && touch $@

demo: .venv/.stamp $(if $(filter kind,$(CLUSTER)),setup) ## a rolling update without and with the fixes, side by side
	$(if $(filter kind,$(CLUSTER)),$(HAZD) cluster create &&) $(HAZD) run rollout --startup-delay 2 --compare $(FIXES) $(if $(CLUSTER),--cluster $(CLUSTER))

check: .venv/.stamp ## ruff, mypy and the layers
	$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy && .venv/bin/lint-imports

test: check ## all checks and every test this machine can run
	bash tests/lanes

unit: .venv/.stamp ## tests without sockets
	$(PY) -m pytest -q tests/unit tests/golden tests/fixes tests/house

wire: .venv/.stamp ## tests against servers that die in every way, on loopback
	$(PY) -m pytest -q tests/wire

contract: .venv/.stamp ## the suite every cluster passes, on the lab
	$(PY) -m pytest -q tests/contract

lab: .venv/.stamp ## everything that runs in the lab
	$(PY) -m pytest -q -m lab --require-lab

kind: .venv/.stamp ## everything that runs on hazd's kind cluster, which is created when absent
	$(HAZD) cluster create && $(PY) -m pytest -q -m kind --require-kind

e2e: .venv/.stamp ## whole runs of the command line
	$(PY) -m pytest -q tests/e2e

nightly: .venv/.stamp ## every scenario without and with its fixes on kind, compared with reports/baseline if it is there; fails where either does
	rm -rf reports/nightly && { $(HAZD) matrix $(SCENARIOS) --cluster kind --no-each --name nightly; ran=$$?; $(HAZD) compare reports/nightly $(wildcard reports/baseline) --junit reports/nightly/junit.xml --markdown reports/nightly/summary.md; compared=$$?; exit $$(( ran ? ran : compared )); }

report: .venv/.stamp ## make the newest run's report anew (RUN=reports/NAME for another)
	$(HAZD) report $(or $(RUN),$(shell ls -td reports/*/ 2> /dev/null | head -1))

bench: .venv/.stamp ## the benchmarks: senders beside their peers, the lab's cost per pod, the lab beside kind (about 25 minutes)
	$(PY) -m bench.traffic && $(PY) -m bench.lab && $(PY) -m bench.fidelity

bench-setup: ## get the peers of the traffic benchmark from package registries
	bench/traffic/setup

bench-fidelity: .venv/.stamp ## the lab beside kind only
	$(PY) -m bench.fidelity

clean: ## remove what killed runs left, the kind cluster and the caches in this folder
	-test ! -x $(HAZD) || { $(HAZD) clean; $(HAZD) cluster delete; }
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

# Each target is one line that also works alone; `make help` lists them. CLUSTER=kind|lab|context:NAME for demo.
PY := .venv/bin/python
HAZD := .venv/bin/hazd
# Short waits: the demo shows the race and its cure; how rarely a rare loss happens is a longer run's to say.
QUICK := --warmup 1 --settle 2
FIXES := --with-prestop --with-readiness --with-graceful-shutdown
.DEFAULT_GOAL := help
.PHONY: help setup venv demo check test unit wire contract lab kind e2e nightly report bench bench-setup bench-fidelity clean

help: ## what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: ## install and start Docker, get kind and debootstrap (root or sudo; does nothing twice)
	setup/docker && setup/kind

venv: .venv/.stamp ## the virtual environment with hazd (what the tests need comes with them); PYTHON=... chooses one

.venv/.stamp: pyproject.toml
	setup/python && touch $@

.venv/.dev: .venv/.stamp
	setup/python dev && touch $@

demo: .venv/.stamp $(if $(filter kind,$(CLUSTER)),setup) ## a rolling update without and with the fixes, side by side
	$(if $(filter kind,$(CLUSTER)),$(HAZD) cluster create &&) $(HAZD) run rollout --startup-delay 2 --compare $(FIXES) $(QUICK) $(if $(CLUSTER),--cluster $(CLUSTER))

check: .venv/.dev ## ruff, mypy and the layers
	$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy && .venv/bin/lint-imports

test: .venv/.dev ## all checks and every test, in lanes side by side; as root on Debian what they need is set up first
	$(PY) -m tests.lanes

unit: .venv/.dev ## tests without sockets
	$(PY) -m pytest -q tests/unit tests/golden tests/mutants tests/fixes tests/house

wire: .venv/.dev ## tests against servers that die in every way, on loopback
	$(PY) -m pytest -q tests/wire

contract: .venv/.dev ## the suite every cluster passes, on the lab
	$(PY) -m pytest -q tests/contract

lab: .venv/.dev ## everything that runs in the lab
	$(PY) -m pytest -q -m lab --require-lab

kind: .venv/.dev ## everything that runs on hazd's kind cluster, which is created when absent
	$(HAZD) cluster create --config tests/kind-config.yaml && $(PY) -m pytest -q -m kind --require-kind

e2e: .venv/.dev ## whole runs of the command line
	$(PY) -m pytest -q tests/e2e

nightly: .venv/.stamp ## every scenario without and with its fixes on kind, compared with reports/baseline if it is there; fails where either does
	rm -rf reports/nightly && { $(HAZD) matrix $(SCENARIOS) --cluster kind --no-each --name nightly; ran=$$?; $(HAZD) compare reports/nightly $(wildcard reports/baseline) --junit reports/nightly/junit.xml --markdown reports/nightly/summary.md; compared=$$?; exit $$(( ran ? ran : compared )); }

report: .venv/.stamp ## write the newest run's report again (RUN=reports/NAME for another)
	$(HAZD) report $(or $(RUN),$(shell ls -td reports/*/ 2> /dev/null | head -1))

bench: .venv/.dev ## the benchmarks: senders beside their peers, the lab's cost per pod, the lab beside kind (about 25 minutes)
	$(PY) -m bench.traffic && $(PY) -m bench.lab && $(PY) -m bench.fidelity

bench-setup: ## get the peers of the traffic benchmark from package registries
	bench/traffic/setup

bench-fidelity: .venv/.dev ## the lab beside kind only
	$(PY) -m bench.fidelity

clean: ## remove what killed runs left, the kind cluster and the caches in this folder
	-test ! -x $(HAZD) || { $(HAZD) clean; $(HAZD) cluster delete; }
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .lanes build dist

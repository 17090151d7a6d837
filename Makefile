# `make` works ON Weighbridge, and holds the README's two commands; `invoke` USES it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
.NOTPARALLEL: # each goal's parts stand in the order in which they are needed

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

.PHONY: appliance
appliance: PARTS = python docker
appliance: missing setup docker ## install what is missing, build the CPU appliance, start it, ask it real questions
	@$(BIN)/invoke run
	@$(BIN)/invoke smoke --name weighbridge-demo
	@echo "see it: $(BIN)/invoke status    stop it: $(BIN)/invoke stop"

.PHONY: test
test: PARTS = python docker tools
test: missing develop docker ## every test, those on a real container too; installs what they need
	@scripts/install-missing.sh tools
	$(BIN)/pytest --live

.PHONY: check
check: develop ## format, lint, types, fast tests: before each commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

.PHONY: golden
golden: develop ## write the golden files anew; read the diff
	$(BIN)/pytest tests/test_golden.py --update-golden
	git diff --stat -- tests/golden

.PHONY: live
live: develop docker ## the tests on a real container alone
	$(BIN)/pytest --live -m live

.PHONY: load
load: SECONDS ?= 300
load: develop docker ## 64 streaming clients through the gateway of the CPU image, SECONDS=300
	PYTHONPATH=.:tests/load $(BIN)/python tests/load/load.py $(SECONDS)

.PHONY: demo-model
demo-model: setup ## train the demo model again (minutes, CPU)
	scripts/train_demo_model.sh

.PHONY: calibrate
calibrate: develop ## fit the overhead band to the rows in tests/calibration/rows; writes docs/planner.md
	PYTHONPATH=. $(BIN)/python tests/calibration/fit.py

SIZES ?= 1
ROUNDS ?= 3
.PHONY: bench-bake
bench-bake: develop docker ## measure bakes against docker build, buildah and a raw copy; writes docs/bake.md (SIZES="1 4 16")
	PYTHONPATH=.:tests $(BIN)/python -m bench.bake --gib $(SIZES) --rounds $(ROUNDS) $(if $(ROUTES),--routes $(ROUTES))

.PHONY: diagnose-report
diagnose-report: develop ## docs/diagnose.md: how often `invoke diagnose` is right on public logs
	PYTHONPATH=. $(BIN)/python scripts/diagnose_page.py

.PHONY: docs
docs: develop ## the pages that are made: docs/fit.md, docs/hardware.md, docs/lint.md
	PYTHONPATH=. $(BIN)/python scripts/fit_page.py
	PYTHONPATH=. $(BIN)/python scripts/hardware_page.py
	PYTHONPATH=. $(BIN)/python scripts/lint_page.py

.PHONY: flags
flags: develop ## an engine's arguments from its own parser: make flags ENGINE=vllm VERSION=0.33.0
	$(BIN)/python scripts/flags.py "$(ENGINE)" "$(VERSION)" $(if $(PYTHON),--python "$(PYTHON)")

.PHONY: screenshots
screenshots: develop docker ## the pictures of the console in docs/, from a real appliance
	@scripts/install-missing.sh tools fonts
	$(BIN)/python tests/console/screenshots.py

.PHONY: performance
performance: develop ## docs/performance.md from its rows, docs/benchmark.md from its words
	PYTHONPATH=. $(BIN)/python tests/bench/serving/page.py
	PYTHONPATH=. $(BIN)/python scripts/benchmark_page.py

.PHONY: lock
lock: develop ## the dependencies' lock files anew, from pyproject.toml
	scripts/lock.sh

.PHONY: wheel
wheel: develop ## the installable package, in dist/
	$(BIN)/python -m hatchling build -t wheel

.PHONY: missing
missing:
	@[ -z "$${WEIGHBRIDGE_NO_INSTALL:-}" ] || scripts/install-missing.sh $(PARTS)

.PHONY: docker
docker: ## a Docker engine that answers: installed and started when there is none
	@scripts/install-missing.sh docker

.PHONY: setup
setup: .venv/.ready ## .venv with invoke in it

.PHONY: develop
develop: .venv/.developer ## .venv with the test tools too

.venv/.ready: requirements.txt
	@scripts/install-missing.sh python
	@echo "setup: .venv with the locked requirements" >&2
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf .venv; "$$(scripts/install-missing.sh which-python)" -m venv .venv; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/.developer: .venv/.ready requirements-dev.txt
	@echo "setup: .venv with the test tools" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

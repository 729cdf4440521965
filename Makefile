# `make` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
ESC50 := $(BIN)/python -m esc50
LOCK := requirements.lock
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest --quiet
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYDEVD_DISABLE_FILE_VALIDATION ?= 1

.PHONY: help env lock data features run publish reproduce test test-fast check-results browser lint format bench app lab \
	voila pictures readme page site wheel clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

env: $(VENV)/.installed ## create the virtual environment and install everything, with uv if present, else pip

$(VENV)/.installed: pyproject.toml $(LOCK)
	@if [ -d $(VENV)/conda-meta ]; then set -x; \
		$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . ; \
	elif uv --version >/dev/null 2>&1; then set -x; \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		uv pip install --quiet --python $(BIN)/python --require-hashes -r $(LOCK) && \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . ; \
	else set -x; \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --progress-bar on --require-hashes -r $(LOCK) && \
		$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . ; \
	fi
	@touch $@

lock: ## update all packages in the lock files (needs uv)
	$(COMPILE) --upgrade --generate-hashes --all-extras --output-file $(LOCK)
	$(COMPILE) --upgrade --no-annotate --extra app --constraint $(LOCK) --output-file requirements-app.txt

data: env ## download ESC-50 (646 MB) to data/raw; not needed for `make run`
	$(ESC50) fetch

features: env ## compute data/features from the recordings (2 minutes)
	$(ESC50) features

run: env ## execute the notebooks into build/, with training of the plain head and all figures
	$(ESC50) run --retrain 04

publish: env ## run, then update the committed notebooks, plain head, and what `make readme` does
	$(ESC50) run --retrain 04 --publish
	$(ESC50) export
	$(ESC50) readme

reproduce: env ## everything from audio: features, all training, results, figures; resumes after an interruption
	$(ESC50) features log_mel yamnet clip_statistics layers layers_slow layers_fast layers_often \
		levelled degraded degraded_anew view view_slow view_fast view_looped view_quiet view_loud \
		view_degraded view_degraded_slow view_degraded_fast \
		view_degraded_anew view_degraded_anew_slow view_degraded_anew_fast
	$(ESC50) nested-cv heads
	$(ESC50) nested-cv layers
	$(ESC50) nested-cv kernel_ridge
	$(ESC50) nested-cv pooled
	$(ESC50) nested-cv pooled_head
	$(ESC50) train
	$(ESC50) trust
	$(ESC50) trust --model plain
	$(ESC50) openset
	$(ESC50) audit protocol
	$(ESC50) audit labels
	$(ESC50) audit costs
	$(ESC50) robustness
	$(ESC50) retrieval
	$(ESC50) ship
	$(ESC50) ship --model plain
	$(ESC50) export
	$(ESC50) teaching
	$(ESC50) timelines
	$(ESC50) run --retrain 04 --retrain 05 --publish
	$(ESC50) export
	$(ESC50) readme

browser: env ## find a Chromium for the browser tests, or install one
	@for name in chromium chromium-browser google-chrome; do command -v $$name && exit 0; done; \
	timeout 300 $(BIN)/python -m playwright install chromium || \
	{ [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y chromium; } || \
	{ echo "no browser found or installed: the tests that need one will be skipped"; test -z "$$CI"; }

test: env browser lint ## run all tests, including browser tests and notebooks by nbval (up to 12 minutes)
	$(PYTEST)
	$(PYTEST) --nbval-lax --nbval-cell-timeout=600 notebooks

test-fast: env ## run the fast tests, without browser and notebooks (up to 90 seconds)
	$(PYTEST) -m 'not slow and not browser and not results'

check-results: env ## check committed results, README, RESULTS.md, MODEL_CARD.md and docs against each other
	$(PYTEST) -m results

lint: env ## check style, format, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/basedpyright

format: env ## fix style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: env ## compare the speed of this version with 0.1.0
	$(BIN)/python -m benchmarks

app: env ## serve the browser app on http://127.0.0.1:7860
	$(BIN)/python main.py

lab: env ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks

voila: env ## serve the widget as a web page
	$(BIN)/python -m esc50.apps.widget_page

pictures: env browser ## make README's screenshots of the app and the widget (needs the recordings)
	$(BIN)/python tests/make_pictures.py

readme: env ## update the numbers in README.md, RESULTS.md and docs/index_and_find.md, and MODEL_CARD.md
	$(ESC50) readme

page: env ## build the static page into build/page; Node.js is in the environment
	$(ESC50) page

site: env ## build the documentation into build/site
	$(BIN)/python -m sphinx -c docs -b html -W --keep-going --quiet . build/site

wheel: env ## build dist/esc50-*.whl, with the models
	rm -rf build/lib build/bdist.*
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean: ## remove everything that can be rebuilt: environment, build/, dist/, caches
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache esc50.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	git worktree prune

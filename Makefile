# Targets for people; `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
ESC50 := $(BIN)/python -m esc50
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYDEVD_DISABLE_FILE_VALIDATION ?= 1

.PHONY: help env data features run reproduce finetune test browser lint format bench app lab voila readme clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

env: $(VENV)/.installed ## make the virtual environment and install everything

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --progress-bar on --constraint constraints.txt --editable '.[test]'
	touch $@

data: env ## download ESC-50 (646 MB) into data/raw; not needed for `make run`
	$(ESC50) fetch

features: env ## compute data/features from the recordings (2 minutes)
	$(ESC50) features

run: env ## execute notebooks 01 to 07, train the plain head for real, regenerate every figure
	$(ESC50) run --retrain 04 --publish
	$(ESC50) readme

reproduce: env ## everything from audio: features, every training, results, figures; stop and resume at will
	$(ESC50) features log_mel yamnet clip_statistics layers layers_slow layers_fast layers_often
	$(ESC50) select
	$(ESC50) select --layers
	$(ESC50) select --kernel
	$(ESC50) train
	$(ESC50) finetune
	$(ESC50) ship
	$(ESC50) trust
	$(ESC50) trust --model plain
	$(ESC50) timeline-benchmark
	$(ESC50) bench
	$(ESC50) run --retrain 04 --retrain 07 --publish
	$(ESC50) app-benchmark
	$(ESC50) readme

finetune: env ## train YAMNet further, end to end, from the recordings; stop and resume at will (an hour or more on 2 cores)
	$(ESC50) finetune

browser: env ## find a Chromium for the browser tests, or install one
	@for name in chromium chromium-browser google-chrome; do command -v $$name && exit 0; done; \
	timeout 300 $(BIN)/python -m playwright install chromium || \
	{ [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y chromium; } || \
	echo "no browser can be had here: the tests that need one will be skipped"

test: env browser ## run all tests, in the browser too, the notebooks by nbval included
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest --nbval-lax --nbval-cell-timeout=600 notebooks

lint: env ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: env ## mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: env ## time the embedding of all clips against the plain loop, and the app under load
	$(ESC50) bench
	$(ESC50) app-benchmark

app: env ## serve the app for the browser on http://127.0.0.1:7860
	$(BIN)/python main.py

lab: env ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks --ServerApp.tornado_settings="{'websocket_max_message_size': 268435456}"

voila: env ## serve notebook 05's widget as a page of its own
	cd notebooks && $(abspath $(BIN))/voila 05_predict.ipynb --Voila.tornado_settings="{'websocket_max_message_size': 268435456}"

readme: env ## write the results tables into README.md, and MODEL_CARD.md
	$(ESC50) readme

clean: ## remove what can be made again: the environment, executed notebooks, finished runs, caches
	rm -rf $(VENV) build .pytest_cache .ruff_cache esc50.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

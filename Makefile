# Everything a newcomer needs: `make demo`, `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
FAST := -m "not slow and not clients and not live and not browser"
# Files in two processes; the slow ones run alone, since they kill, fill and measure; those with a browser too, whose
# driver keeps an event loop in the main thread.
PARALLEL := --numprocesses 2 --dist loadfile
export HF_HUB_OFFLINE = 1
export ORT_DISABLE_TELEMETRY = 1

.DEFAULT_GOAL := help
.PHONY: help demo serve test check format bench audit-table lock docs clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## Set up and run the gateway of a fictional bank, and print what to try
	$(BIN)/gateway demo --with-signer

serve: $(VENV)/.runtime ## Run a gateway with your own gateway.yaml (GATEWAY_CONFIG=…)
	$(BIN)/gateway serve

test: $(VENV)/.dev ## Run all tests, those with real client libraries included
	$(BIN)/python -m pytest $(FAST) $(PARALLEL)
	$(BIN)/python -m pytest -m "(slow or clients or live) and not browser"
	$(BIN)/python -m pytest -m browser
	@echo "all tests passed"

check: $(VENV)/.dev ## Format, lint, types, layers, policies, generated documents, fast tests
	$(BIN)/ruff format --check gateway rules tests
	$(BIN)/ruff check gateway rules tests
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/gateway policy lint policies
	$(BIN)/gateway policy fmt --check policies
	$(BIN)/gateway policy test policies --min-coverage 1 --min-score 0.9
	$(BIN)/python -m tests.support.documents --check
	$(BIN)/python -m pytest $(FAST) $(PARALLEL)

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format gateway rules tests
	$(BIN)/ruff check --fix --quiet gateway rules tests

docs: $(VENV)/.dev ## Write the generated parts of the documents anew
	$(BIN)/python -m tests.support.documents

bench: $(VENV)/.dev ## Measure beside a bare proxy, and print ratios
	$(BIN)/python tests/bench/run.py

audit-table: $(VENV)/.dev ## Tamper with logs at random places and publish what verification notices
	PYTHONPATH=. $(BIN)/python tests/audit/detection_table.py

lock: ## Resolve the dependencies anew (needs `uv`)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --group build --group models --group assets pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --group build --group models --group assets --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## Remove environments and caches; never the data in var/
	rm -rf $(VENV) .venv-clients .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

# The lock names every package with its hash; `--no-deps` because it is complete and leaves out what we never import.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) --require-hashes --no-deps -r requirements.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) --require-hashes --no-deps -r requirements-dev.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --no-index -e .
	@touch $@ $(VENV)/.runtime

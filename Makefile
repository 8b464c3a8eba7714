# `make` alone says what there is. Every target sees to `.venv` itself (.ci/bootstrap).
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help demo test proofs e2e chaos lint format bench env env-stack clean
PY := .venv/bin/python
# Further arguments: make demo ARGS="--source kraken", make test ARGS="tests/app -x"
ARGS ?=

help: ## Say what can be made
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: env-stack ## Start the whole local stack with a simulated market and a live board (Ctrl-C stops it)
	@exec .venv/bin/tickcast demo $(ARGS)

test: env-stack ## Unit, component and the short end-to-end tests (about a quarter of an hour on 2 cores)
	$(PY) -m pytest -m "not proof" $(ARGS)

proofs: env-stack ## Delivery, recovery, liveness, leases under rebalances and crashes; every source against its cards
	$(PY) -m pytest -m proof $(ARGS)

e2e: env-stack ## Only the tests of the whole running stack
	$(PY) -m pytest -m e2e $(ARGS)

chaos: env-stack ## Blows against the running stack, and a ledger: make chaos KILLS=20 SEED=1
	@$(PY) -m tests.chaos --kills $(or $(KILLS),20) --seed $(or $(SEED),0) $(ARGS)

lint: env ## Ruff and mypy, as strict as CI
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: env ## Let ruff mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: ## One benchmark: make bench NAME=replay (writes tests/bench/results/NAME.json)
	@test -n "$(NAME)" || { echo "error: say which: make bench NAME=replay" >&2; exit 2; }
	@test -f "tests/bench/$(NAME).py" || { echo "error: there is no tests/bench/$(NAME).py" >&2; exit 2; }
	@.ci/bootstrap stack bench
	$(PY) -m tests.bench.$(NAME) $(ARGS)

clean: ## Remove caches and the demo's folder; .venv stays
	rm -rf .tickcast .mypy_cache .ruff_cache .pytest_cache .hypothesis

env:
	@.ci/bootstrap

env-stack:
	@.ci/bootstrap stack

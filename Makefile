# Everything a fresh machine needs: Python 3.11 or newer with venv, make, and the package registries.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-one unit soak check docs bench lock clean distclean

SUITABLE = [ "$$("$$python" -c 'import sys, venv, ensurepip; print(sys.version_info >= (3, 11))' 2>/dev/null)" = True ]
# The newest suitable interpreter; `make PYTHON=/usr/bin/python3.12 setup` names another one.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do $(SUITABLE) && echo "$$python" && break; done)
NAMED := $(filter-out file,$(origin PYTHON))
BIN := .venv/bin
INSTALLED := .venv/.installed
COMPARED := .venv/.compared

# Fast tests first, so that a mistake shows early. Folders that do not exist yet are left out.
TEST_FOLDERS := $(wildcard $(addprefix tests/,unit contracts simulated operations kafka))
# What needs neither the simulation nor a broker.
UNIT_FOLDERS := $(wildcard $(addprefix tests/,unit contracts operations))
# Each is a script of its own: `.venv/bin/python benchmarks/failover.py --help`.
BENCHMARKS := scoring pairing estimators decider callbacks latency failover recovery overhead hazards chaos budget
# A seed of the simulation tells the same history only in a Python with the same hashes of strings.
export PYTHONHASHSEED ?= 0

# Arguments for pytest: `make test ARGS="-k submit -x"`. `make test ARGS=tests/unit/domain` runs that path only.
ARGS ?=
GIVEN := $(filter tests/%,$(ARGS))

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url pyproject.toml

help: ## Show this list
	@echo "cj-stream: rank texts by comparative judgement, on Faust and Kafka"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## Make .venv from the hash-locked requirements (the other targets do this by themselves)
	@echo ".venv is ready; next: make demo"

demo: $(INSTALLED) ## Broker, two workers and three batches: from essays to rankings in under 90 seconds
	@$(BIN)/cj-stream demo

test: $(INSTALLED) ## Run all tests, the fast ones first
	@$(BIN)/pytest $(if $(GIVEN),,$(TEST_FOLDERS)) $(ARGS)

unit: $(INSTALLED) ## Run the tests that need no broker and no simulation, in under two minutes
	@$(BIN)/pytest $(if $(GIVEN),,$(UNIT_FOLDERS)) $(ARGS)

test-one: $(INSTALLED) ## Run the tests of a path, or those with words in their names: T=tests/unit/domain, T=orphan
	@test -n '$(T)' || { echo "make: which test? for example: make test-one T=orphan" >&2; exit 2; }
	@$(BIN)/pytest $(if $(filter tests/%,$(T)),'$(T)',$(TEST_FOLDERS) -k '$(T)') $(ARGS)

# `make soak SEEDS=100000 FROM=5000`: those after the seeds of `make test` by default. A seed that fails says how to replay it.
SEEDS ?= 20000
FROM ?= 2000
READINGS ?= 100000
KILLS ?= 10
soak: $(INSTALLED) ## Send more hostile messages, and simulate and commit more faults than the tests do: SEEDS=20000 KILLS=10
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run $(FROM) --seeds $(SEEDS)
	@PYTHONPATH=tests $(BIN)/python -m fuzz.readings $(FROM) --seeds $(READINGS)
	@PYTHONPATH=tests $(BIN)/python -m simulation.run $(FROM) --seeds $(SEEDS)
	@PYTHONPATH=tests $(BIN)/python -m kills.run $(FROM) --runs $(KILLS)
	@$(BIN)/pytest $(TEST_FOLDERS) -m soak

check: $(INSTALLED) ## Lint, formatting, layers and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy

docs: $(INSTALLED) ## Write docs/settings.md from the settings
	@$(BIN)/python tools/settings_page.py

bench: $(COMPARED) ## Run all benchmarks; best on a machine with nothing else to do
	@for name in $(BENCHMARKS); do OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/$$name.py || exit 1; done

lock: $(INSTALLED) ## Resolve pyproject.toml again into the lock files
	$(COMPILE) --extra build --output-file requirements.lock
	$(COMPILE) --extra build --extra judges --constraint requirements.lock --output-file requirements-judges.lock
	$(COMPILE) --extra test --constraint requirements-judges.lock --constraint requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --extra bench --constraint requirements-dev.lock --output-file requirements-bench.lock

clean: ## Remove .venv, builds and caches; the data in var/ stays
	rm -rf .venv build dist cj_stream.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Also remove the data in var/
	rm -rf var

$(INSTALLED): requirements-dev.lock pyproject.toml
	@python='$(PYTHON)'; \
	if ! $(SUITABLE); then \
		echo "make: $(if $(PYTHON),$(PYTHON) does not do ($$("$$python" --version 2>&1 | head -n 1)),no suitable Python is on the PATH):" \
			"it takes Python 3.11 or newer with the venv module." >&2; \
		echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3 setup" >&2; \
		exit 1; \
	fi; \
	"$$python" tools/make_venv.py $(if $(NAMED),--this-python)

# Looked at again when a Python is named, or when the checkout was moved: the scripts in .venv name the place.
ifneq ($(NAMED)$(shell head -n 1 $(INSTALLED) 2>/dev/null),$(CURDIR))
.PHONY: $(INSTALLED)
endif

# Libraries that the benchmarks compare with: for no other purpose.
$(COMPARED): $(INSTALLED) requirements-bench.lock
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock; \
	then touch $@; else echo "make: the benchmarks run without the libraries to compare with" >&2; fi

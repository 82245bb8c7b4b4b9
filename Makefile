# pycalc's chores. `make help` lists them; each works alone in a fresh clone with nothing but python3 >= 3.11.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv --quiet --system-certs
JOBS := 3
MARKER :=
FUZZ_SECONDS := 120
TYPESCRIPT := 7.0.2
TYPESCRIPT_FOLDER := .typescript/$(TYPESCRIPT)

# Without compiled files every server and every test process would compile all of pycalc and its tests again.
unexport PYTHONDONTWRITEBYTECODE

# uv does not read pip's settings.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

# The newest interpreter that really runs: a name on PATH may be a shim for one that is not selected.
PYTHON ?= $(shell for p in python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13.*/bin/python3 python3.14 python3.12 python3.11 python3; do \
	"$$p" -c 'import ensurepip, ssl, sqlite3, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && command -v "$$p" && break; done)

.DEFAULT_GOAL := help
.PHONY: help run up-local test check marked-tests mutate services lint check-console format bench drill soak client wheel up dashboards screenshots guide client-types check-api check-deploy check-image requirements clean

help:  ## list the chores
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: $(VENV)/runtime  ## start the service on http://127.0.0.1:8080
	@exec $(BIN)/pycalc serve

up-local: $(VENV)/dev  ## the same with Redis and Kafka, started here too (needs redis-server, Java, Maven)
	@exec $(BIN)/python -m tests.harness.run local

test: $(VENV)/dev  ## run the tests that need nothing but Python (some minutes)
	$(BIN)/pytest -q -n $(JOBS)

check: $(VENV)/dev  ## run lint and all tests, with real brokers, databases, browser and short drills (MARKER=programs: only what test leaves out)
	@$(MAKE) --no-print-directory --jobs=2 lint marked-tests

marked-tests: $(VENV)/dev
	$(BIN)/pytest -q -n $(JOBS) -m "$(MARKER)" --durations=20

services: $(VENV)/dev  ## start PostgreSQL, Redis, Kafka and the Pub/Sub emulator on loopback, until Ctrl-C
	@exec $(BIN)/python -m tests.harness.run

lint: $(VENV)/dev  ## flake8, ruff, mypy --strict, import-linter, tsc --checkJs (needs npm)
	$(BIN)/flake8 .
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@$(MAKE) --no-print-directory check-console

check-console:  ## check the types of the console's scripts (needs npm, the first time a network)
	@set -e; tsc=$(TYPESCRIPT_FOLDER)/node_modules/.bin/tsc; \
	if [ ! -x $$tsc ]; then \
		if ! command -v npm >/dev/null; then \
			echo "npm is not installed: the types of the console's scripts were not checked"; [ "$$CI" != true ]; exit; \
		fi; \
		mkdir -p $(TYPESCRIPT_FOLDER); \
		npm install --silent --no-save --no-package-lock --prefix $(TYPESCRIPT_FOLDER) typescript@$(TYPESCRIPT); \
	fi; \
	$$tsc -p tsconfig.json

format: $(VENV)/dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev  ## measure speed and memory (needs wrk)
	$(BIN)/python -m benchmarks.run

drill: $(VENV)/dev  ## kill, fill, lock and flood real servers (strace, root for the full disk)
	$(BIN)/python -m drills.run

soak: $(VENV)/dev  ## load a service on PostgreSQL, Redis and Kafka for an hour; memory and latencies must stay level
	$(BIN)/python -m drills.run soak

mutate: $(VENV)/mutate  ## change the code in one place after another; list what no test notices (SAMPLE=200 SEED=1 ONLY=pycalc/services)
	$(BIN)/python -m tests.mutation.run $(if $(ONLY),--only $(ONLY)) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(TESTS),--tests $(TESTS))

client: $(VENV)/dev  ## make the synchronous Python client from the asynchronous one
	$(BIN)/python clients/python/generate.py

wheel: $(VENV)/dev  ## build the wheels of the service and of the Python client into dist/
	$(UV) build --python $(BIN)/python --no-build-isolation --wheel --out-dir dist .
	$(UV) build --python $(BIN)/python --no-build-isolation --wheel --out-dir dist clients/python

up: .env  ## the whole fleet in containers (needs Docker)
	docker compose up --build --detach --wait --wait-timeout 300

dashboards: $(VENV)/dev  ## write alert rules and dashboards from deploy/observability
	$(BIN)/python -m deploy.observability

screenshots: $(VENV)/dev  ## take the pictures of the console in docs/images (needs Chromium)
	$(BIN)/python -m tests.harness.screenshots

guide: $(VENV)/dev  ## make the page /guide from docs/api.md
	$(BIN)/python -m deploy.api.guide

client-types: $(VENV)/dev $(VENV)-api/installed  ## make the TypeScript client's types from the OpenAPI document (needs npm)
	$(BIN)/python -m deploy.api.typescript $(VENV)-api

check-api: $(VENV)/dev $(VENV)-api/installed  ## lint the OpenAPI document, generate clients and call with them, fuzz (needs npm, Maven, Java, Go)
	@$(BIN)/python -m deploy.api $(VENV)-api $(FUZZ_SECONDS)

check-deploy: $(VENV)-deploy/installed  ## check Dockerfile, compose, Terraform, alerts, workflows by their own tools
	@$(VENV)-deploy/bin/python -m deploy.check

check-image: $(VENV)/dev  ## build the image without Docker and use it (needs root, buildah, debootstrap)
	PYCALC_CHECK_IMAGE=1 $(BIN)/pytest -q tests/deploy/test_image.py

PIN := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade

requirements: $(BIN)/uv  ## pin the dependencies anew
	$(PIN) requirements/uv.in -o requirements/uv.txt
	$(PIN) pyproject.toml --extra mcp --extra otel requirements/build.in -o requirements/runtime.txt
	$(PIN) pyproject.toml --extra mcp --extra otel requirements/build.in --group dev -c requirements/runtime.txt -o requirements/dev.txt
	$(PIN) requirements/deploy.in -o requirements/deploy.txt
	$(PIN) requirements/api.in -o requirements/api.txt
	$(PIN) requirements/mutate.in -c requirements/dev.txt -o requirements/mutate.txt

clean:  ## remove what the chores made, not the data
	rm -rf $(VENV) $(VENV)-api $(VENV)-deploy build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .typescript

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "pycalc needs Python 3.11 or later with the module venv (python3 on PATH; Debian and Ubuntu: the package python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

$(BIN)/uv: $(BIN)/python requirements/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# Compiled, so that the first start is as fast as the second.
$(VENV)/runtime: $(BIN)/uv requirements/runtime.txt pyproject.toml clients/python/pyproject.toml
	$(UV) pip install --python $(VENV) --compile-bytecode --require-hashes -r requirements/runtime.txt
	$(UV) pip install --python $(VENV) --no-deps --no-build-isolation --editable . --editable ./clients/python
	@touch $@

$(VENV)/dev: $(VENV)/runtime requirements/dev.txt
	$(UV) pip install --python $(VENV) --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/mutate: $(VENV)/dev requirements/mutate.txt
	$(UV) pip install --python $(VENV) --require-hashes -r requirements/mutate.txt
	@touch $@

$(VENV)-deploy/installed: requirements/deploy.txt | $(BIN)/uv
	$(UV) venv --clear --python $(BIN)/python $(VENV)-deploy
	$(UV) pip install --python $(VENV)-deploy --require-hashes -r requirements/deploy.txt
	@touch $@

$(VENV)-api/installed: requirements/api.txt deploy/api/package.json | $(BIN)/uv
	$(UV) venv --clear --python $(BIN)/python $(VENV)-api
	$(UV) pip install --python $(VENV)-api --require-hashes -r requirements/api.txt
	cp deploy/api/package.json $(VENV)-api
	npm install --prefix $(VENV)-api --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.env:
	@umask 077 && sh deploy/compose/env.sh >$@.part && mv $@.part $@

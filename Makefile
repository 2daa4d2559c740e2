# `make demo` and `make test` work on a fresh machine with Python 3.11, pip and venv.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Debian's chromium drives the browser tests; they skip, with the reason, where there is none.

.PHONY: help demo test test-machines test-versions torture soak check format bench bench-check clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.core: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.dev: .venv/.core
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/.core  ## watch an LSTM learn to tell tales, in under two minutes
	@$(BIN)/carousel train --preset demo

# Renders the pages in the tests, which skip, with the reason, where there is no npm.
.venv/.pages: .venv/.dev tests/pages/package-lock.json
	@command -v npm >/dev/null && npm ci --silent --prefix tests/pages || true
	@touch $@

test: .venv/.pages  ## all tests
	@$(BIN)/python -m pytest -q -n 2 -m "not serial"; parallel=$$?; \
	$(BIN)/python -m pytest -q -m serial; serial=$$?; \
	if [ $$parallel -ne 0 ] || [ $$serial -ne 0 ]; then \
	  echo "make test: failed (exit codes: $$parallel of the parallel part, $$serial of the serial part)"; \
	  exit 1; \
	fi

test-machines: .venv/.dev  ## what depends on arithmetic, on emulated processors: half an hour each
	$(BIN)/python tools/test_machines.py

test-versions:  ## the main tests on the oldest, the pinned and the newest torch: downloads gigabytes, an hour
	$(PYTHON) tools/test_versions.py

torture: .venv/.dev  ## kills, failing disks, damaged files by the thousand: up to 45 minutes
	CAROUSEL_TORTURE=1 $(BIN)/python -m pytest -q -n 2 -m torture --timeout 2400 --durations 10

soak: .venv/.dev  ## the server under load, abuse and failure, nothing else running: 20 minutes
	CAROUSEL_SOAK=1 $(BIN)/python -m pytest -q -m soak --timeout 1200 --durations 10

check: .venv/.dev  ## lint, format, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: .venv/.dev  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.core  ## speed and memory beside torch.nn, nothing else running: twenty minutes
	$(BIN)/carousel bench

bench-check: .venv/.core  ## has anything become slower? beside stored figures, two minutes
	$(BIN)/carousel bench --check

clean:  ## remove what was built (not runs/)
	rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache

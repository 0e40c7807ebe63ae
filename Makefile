# run: the main job on the embedded sample.
# quick: style, types, import rules, language and quick tests, in 90 s. test: all tests but those of the deployment.
# check: style, types, import rules, language and known vulnerabilities. test-deployment: what `make serve` starts.
# serve: PostgreSQL, Prefect and a worker on this machine. unserve: stop them.
# hooks: check each commit with ruff and the import rules, and each push with `make quick`.
# bench, memory, race, operation, league: measurements, see benchmarks/results.
PYTHON ?= python3
VENV := .venv
PICTURE := $(CURDIR)/store/picture
BIN := $(VENV)/bin
OPERATION ?= store/operation
SOAK := POLARS_MAX_THREADS=1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE nice $(BIN)/python -m benchmarks.soak
PEERS := store/league/$(if $(QUICK),.venv-quick,.venv)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run quick test test-deployment serve unserve check lint types quick-tests audit hooks bench memory race operation operation-sample operation-daily league picture clean

run: $(VENV)/.run
	$(BIN)/gatecast nightly deployments/load.toml --issue-time newest
	$(BIN)/gatecast nightly deployments/market.toml --issue-time newest

# The tests come first, so that style and types run beside them. With one thread each, two workers do not compete.
quick: $(VENV)/.dev
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target quick-tests lint types

quick-tests: $(VENV)/.dev
	POLARS_MAX_THREADS=1 $(BIN)/python -m pytest -m quick --numprocesses 2 --dist worksteal

# Three workers on two cores: much of the time, one waits for a process, a server or a browser. COVERAGE=1 measures
# which branches the tests take, subprocesses included.
test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

test-deployment: $(VENV)/.dev
	$(BIN)/python -m pytest tests/deployments

serve: $(VENV)/.run
	$(BIN)/python -m deployments up

unserve: $(VENV)/.run
	$(BIN)/python -m deployments down

check: lint types audit

lint: $(VENV)/.dev
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/python .ci/imports.py
	$(BIN)/python .ci/language.py

types: $(VENV)/.dev
	$(BIN)/mypy

audit: $(VENV)/.dev
	$(BIN)/python .ci/audit.py

hooks: $(VENV)/.dev
	$(BIN)/pre-commit install --hook-type pre-commit --hook-type pre-push

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.first_light
	$(BIN)/python -m benchmarks.ingest

race: $(VENV)/.dev store/league/.venv/.made
	$(BIN)/python -m benchmarks.race store/league/.venv/bin/python benchmarks/results/race.md

memory: $(VENV)/.dev
	nice -n 19 $(BIN)/python -m benchmarks.memory benchmarks/results/memory.md benchmarks/results/memory.png

# An interrupted operation goes on. With one thread each, two operations do not compete. A bucket ends with its server.
operation: $(VENV)/.dev
	$(MAKE) --no-print-directory --jobs 2 operation-sample operation-daily
	$(SOAK) run sample $(OPERATION)/sample-s3 --s3 --runs 60
	$(SOAK) report benchmarks/results/operation.md benchmarks/results/operation.png \
		$(OPERATION)/sample $(OPERATION)/daily $(OPERATION)/sample-s3

operation-sample operation-daily: operation-%: $(VENV)/.dev
	$(SOAK) run $* $(OPERATION)/$*

league: $(VENV)/.dev $(PEERS)/.made
	$(BIN)/python -m benchmarks.league --peers $(PEERS)/bin/python $(if $(QUICK),--quick) $(LEAGUE)

picture: $(VENV)/.dev
	GATECAST_PIPELINE__STORE=$(PICTURE) $(BIN)/gatecast nightly deployments/load.toml --issue-time 2018-09-01
	GATECAST_PIPELINE__STORE=$(PICTURE) $(BIN)/gatecast ingest deployments/load.toml
	GATECAST_PIPELINE__STORE=$(PICTURE) $(BIN)/python -m docs.picture deployments/load.toml 2018-09-01 docs/forecast.png
	GATECAST_PIPELINE__STORE=$(PICTURE) $(BIN)/python -m docs.gates_picture deployments/load.toml LDC1 2018-09-01 docs/gates.png
	rm -rf $(PICTURE)

clean:
	rm -rf $(VENV) store

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[train]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.run

$(PEERS)/.made: benchmarks/league/requirements.txt benchmarks/league/requirements-quick.txt benchmarks/league/constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint benchmarks/league/constraints.txt \
		--requirement benchmarks/league/requirements$(if $(QUICK),-quick).txt
	touch $@

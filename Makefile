# run: the main job on the embedded sample. test: every test. check: style, types, room rules, audit. bench: measure. memory: what the gates buy. operation: ninety nights. league, race: beside
# others, by how good and by how fast.
# serve: Prefect, PostgreSQL and a worker on this machine; unserve stops them. test-deployment: the same, under kills.
PYTHON ?= python3
VENV := .venv
PICTURE := $(CURDIR)/store/picture
BIN := $(VENV)/bin
PEERS := store/league/$(if $(QUICK),.venv-quick,.venv)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test test-deployment serve unserve check audit bench memory race operation league picture clean

run: $(VENV)/.run
	$(BIN)/gatecast nightly deployments/load.toml
	$(BIN)/gatecast nightly deployments/market.toml

# Two files at a time: half of the tests wait for a process, a server or a browser.
test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-deployment: $(VENV)/.dev
	$(BIN)/python -m pytest tests/deployments

serve: $(VENV)/.run
	$(BIN)/python -m deployments up

unserve: $(VENV)/.run
	$(BIN)/python -m deployments down

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/audit.py

audit: $(VENV)/.dev
	$(BIN)/python .ci/audit.py

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.first_light
	$(BIN)/python -m benchmarks.ingest

race: $(VENV)/.dev store/league/.venv/.made
	$(BIN)/python -m benchmarks.race store/league/.venv/bin/python benchmarks/results/race.md

memory: $(VENV)/.dev
	nice -n 19 $(BIN)/python -m benchmarks.memory benchmarks/results/memory.md benchmarks/results/memory.png

operation: $(VENV)/.dev
	$(BIN)/python -m benchmarks.operation sample store/operation/sample
	$(BIN)/python -m benchmarks.operation daily store/operation/daily

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

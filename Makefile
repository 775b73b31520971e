# dnssecd: `make demo` to see it, `make check` while working, `make test` before a push.
SHELL := /bin/sh
PYTHON ?=
PREFIX ?= /usr/local
DESTDIR ?=
PY := .venv/bin/python
# Compiled modules are kept, even if the environment disables it: otherwise two test workers and every process that the
# tests start would compile the package again.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(PY) -m pytest -q
# Two workers: servers of different tests share the machine, not their ports or directories.
PARALLEL := -n 2 --dist worksteal
# Tests with real servers wait more than they compute.
PARALLEL_WAITING := -n 3 --dist worksteal
# $(call pytest,DIRECTORIES,OPTIONS); with no directory there pytest would run everything, so it is not started.
pytest = $(if $(wildcard $(1)),$(PYTEST) $(2) $(wildcard $(1)),@echo "no tests in $(1)")
# The same; a few tests that fail beside others are repeated by themselves.
steady = @rm -rf .pytest_cache/crashes .pytest_cache/v/cache/lastfailed; set -x; \
	$(PYTEST) $(2) $(wildcard $(1)) || scripts/repeat-failed $(wildcard $(1))

.PHONY: help demo demo-hsm demo-cluster check lint quick test slow bench soak fuzz clean venv peers

help:
	@echo "make demo [ZONE=file ORIGIN=name]   sign and serve a zone on loopback"
	@echo "make demo-hsm                       the same with its keys in SoftHSM"
	@echo "make demo-cluster                   three nodes with PostgreSQL; the owner is killed, another takes over"
	@echo "make check                          linters and quick tests, under a minute"
	@echo "make test                           everything, with real peers; what CI runs"
	@echo "make bench | soak                   timing against the peers | the long forms of the tests"
	@echo "make fuzz [FUZZ_SECONDS=600]        fuzz messages, updates, zone files, transfers, signed inputs, parser steps: this long each"
	@echo "make deb                            a Debian package in dist/, for the Debian that it runs on"
	@echo "make install | uninstall [PREFIX=/usr/local DESTDIR=]   install without a package (as root) | remove that again"
	@echo "make docs [PICTURES=1]              the documents as a site in build/site, links checked"
	@echo "make clean                          remove .venv, caches and demo state"

venv:
	@scripts/setup-venv $(PYTHON)

peers:
	@scripts/setup-peers

demo: venv
	@$(PY) -m demo $(if $(ZONE),--zone '$(ZONE)') $(if $(ORIGIN),--origin '$(ORIGIN)')

demo-hsm: venv
	@scripts/setup-softhsm
	@$(PY) -m demo.hsm $(if $(ZONE),--zone '$(ZONE)') $(if $(ORIGIN),--origin '$(ORIGIN)')

demo-cluster: venv
	@scripts/setup-softhsm
	@$(PY) -m demo.cluster

# Linters and tests run in parallel: each of them uses one core for part of its time.
check: venv
	@$(MAKE) --no-print-directory -j 2 -O lint quick

lint: venv
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict dnssecd
	.venv/bin/lint-imports

quick: venv
	$(call steady,tests/unit tests/vectors,$(PARALLEL) -m 'not slow and not soak and not bench')

test: venv peers check long pythons servers

# Other Pythons than that of .venv, where the machine has them.
.PHONY: pythons
pythons: venv
	scripts/test-pythons

# What `make check` leaves out: without servers, and with them.
.PHONY: long servers
slow: long servers

long: venv peers
	$(call steady,tests/unit tests/vectors,$(PARALLEL) -m 'slow and not soak and not bench')
	$(call steady,tests/property tests/simulation tests/lessons,$(PARALLEL))

servers: venv peers
	$(call steady,tests/integration tests/faults tests/cases,$(PARALLEL_WAITING) --durations=25)

bench: venv peers
	@$(PY) -m compileall -q dnssecd
	$(call pytest,tests/bench,-s -m bench --timeout=3600)

# As root no test may be skipped (CI=true makes a skipped test a failed one); for other users skipped tests are listed.
soak: ALL_RUN = $(if $(filter 0,$(shell id -u)),CI=true)
soak: PYTEST += -rs
soak: venv
	@scripts/setup-peers soak
	scripts/test-floors
	$(ALL_RUN) $(PYTEST) -m soak --timeout=14400 tests

FUZZ_SECONDS := 600
fuzz: venv
	$(PY) -m tests.fuzz.fuzz_message --seconds $(FUZZ_SECONDS)
	$(PY) -m tests.fuzz.fuzz_update --seconds $(FUZZ_SECONDS)
	$(PY) -m tests.fuzz.fuzz_zonefile --seconds $(FUZZ_SECONDS)
	$(PY) -m tests.fuzz.fuzz_xfrin --seconds $(FUZZ_SECONDS)
	$(PY) -m tests.fuzz.fuzz_input --seconds $(FUZZ_SECONDS)
	$(PY) -m tests.fuzz.fuzz_steps --seconds $(FUZZ_SECONDS)

.PHONY: docs
docs: venv
	@PICTURES="$(PICTURES)" scripts/docs

.PHONY: deb install uninstall
deb: venv
	@deploy/packaging/make-deb

# Creates users, directories and units; starts nothing.
install: venv
	$(PY) deploy/packaging/stage.py --destdir "$(DESTDIR)/" --prefix "$(PREFIX)"
	$(if $(DESTDIR),,deploy/packaging/after-install "$(PREFIX)")

# Stops the services and removes the program. Configuration, zones, keys and users stay; the output names them.
uninstall: venv
	$(if $(DESTDIR),,deploy/packaging/before-uninstall)
	$(PY) deploy/packaging/stage.py --destdir "$(DESTDIR)/" --prefix "$(PREFIX)" --remove
	$(if $(DESTDIR),,deploy/packaging/after-uninstall)

clean:
	rm -rf .venv demo-state build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

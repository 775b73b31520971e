# dnssecd: `make demo` to see it, `make check` while working, `make test` before a push.
SHELL := /bin/sh
PYTHON ?=
PREFIX ?= /usr/local
DESTDIR ?=
PY := .venv/bin/python
# Compiled modules are kept, also where the environment asks Python not to: two test workers and every daemon, worker and
# command that the tests start would compile the package again.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(PY) -m pytest -q
# Two workers: servers of different tests share the machine, not their ports or directories.
PARALLEL := -n 2 --dist worksteal
# $(call pytest,DIRECTORIES,OPTIONS); with no directory there pytest would run everything, so it is not started.
pytest = $(if $(wildcard $(1)),$(PYTEST) $(2) $(wildcard $(1)),@echo "no tests in $(1)")

.PHONY: help demo demo-hsm check lint quick test slow bench soak fuzz clean venv peers

help:
	@echo "make demo [ZONE=file ORIGIN=name]   sign and serve a zone on loopback"
	@echo "make demo-hsm                       the same with its keys in SoftHSM"
	@echo "make check                          linters and quick tests, under a minute"
	@echo "make test                           everything, with real peers; what CI runs"
	@echo "make bench | soak                   timing against the peers | the long forms of the tests"
	@echo "make fuzz [FUZZ_SECONDS=600]        messages, updates, zone files, transfers, steps of parsers: that long each"
	@echo "make deb | install [PREFIX=/usr/local DESTDIR=]   a Debian package in dist/ | install for good (as root)"
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

# Linters and tests side by side: each is often waited for alone on one core.
check: venv
	@$(MAKE) --no-print-directory -j 2 -O lint quick

lint: venv
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict dnssecd
	.venv/bin/lint-imports

quick: venv
	$(call pytest,tests/unit tests/vectors,$(PARALLEL) -m 'not slow and not soak and not bench')

test: venv peers check slow

slow: venv peers
	$(call pytest,tests/unit tests/vectors,$(PARALLEL) -m 'slow and not soak and not bench')
	$(call pytest,tests/property tests/simulation tests/lessons,$(PARALLEL))
	$(call pytest,tests/integration tests/faults tests/cases,$(PARALLEL) --durations=15)

bench: venv peers
	@$(PY) -m compileall -q dnssecd
	$(call pytest,tests/bench,-s -m bench --timeout=3600)

# As root nothing is a reason to skip (CI=true makes a skipped test a failed one); others are told what was skipped.
soak: ALL_RUN = $(if $(filter 0,$(shell id -u)),CI=true)
soak: PYTEST += -rs
soak: venv
	@scripts/setup-peers soak
	$(ALL_RUN) $(PYTEST) -m soak --timeout=14400 tests

FUZZ_SECONDS := 600
fuzz: venv
	$(PY) -m tests.fuzz.fuzz_message --seconds $(FUZZ_SECONDS)
	$(PY) -m tests.fuzz.fuzz_update --seconds $(FUZZ_SECONDS)
	$(PY) -m tests.fuzz.fuzz_zonefile --seconds $(FUZZ_SECONDS)
	$(PY) -m tests.fuzz.fuzz_xfrin --seconds $(FUZZ_SECONDS)
	$(PY) -m tests.fuzz.fuzz_steps --seconds $(FUZZ_SECONDS)

.PHONY: deb install
deb: venv
	@deploy/packaging/make-deb

# Users, directories and units are there afterwards; nothing is started.
install: venv
	$(PY) deploy/packaging/stage.py --destdir "$(DESTDIR)/" --prefix "$(PREFIX)"
	$(if $(DESTDIR),,deploy/packaging/after-install "$(PREFIX)")

clean:
	rm -rf .venv demo-state build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

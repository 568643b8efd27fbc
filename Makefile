# What can be done in this repository. `make` lists it.

.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
PYTEST_ARGS ?=
BENCH ?=
BENCH_ARGS ?=
ROUNDS ?= 20
SUITES ?= bullseye bookworm trixie forky
bin := .venv/bin
shell_files = .ci/run tests/faults/shim.sh tools/build-dist tools/demo tests/lab/install tests/lab/lab tests/lab/python \
	$(wildcard tests/lab/guests/*-* tests/lab/guests/*.sh tests/lab/guests/*/*.sh tests/lab/guests/*/*.postinst)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | column -t -s '	'

.PHONY: setup
setup: .venv/.ready ## install what is needed to work here: Debian packages, .venv
	@tests/lab/install guest build dev

.venv/bin/vmp: pyproject.toml
	@tests/lab/install dev
	$(PYTHON) -m venv .venv
	$(bin)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.ready: .venv/bin/vmp
	$(bin)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch .venv/bin/vmp $@

.PHONY: demo
demo: ## boot a VM to its console greeting in a private libvirt, and clean up
	@tools/demo

.PHONY: test
test: setup check guests dist ## check, and run all tests, guests included, in two private libvirts at once (JOBS=2)
	$(bin)/pytest --no-skips --dist loadfile --tx '$(or $(JOBS),2)*popen//python=tests/lab/python' $(PYTEST_ARGS)

.PHONY: fault-matrix
fault-matrix: setup guests ## break the provisioner at each of its commands (FAULTS='up/curl*', JOBS=2: labs at once)
	@set -f; PYTHONPATH=tests $(bin)/python -m faults $(if $(JOBS),--jobs '$(JOBS)') $(FAULTS)

.PHONY: soak
soak: setup guests ## 20 VMs in parallel for 20 rounds (ROUNDS=20), and up of what is up 200 times
	@state=$$(mktemp -d); trap 'rm -rf "$$state"' EXIT; \
	VMP_IN_LAB=yes tests/lab/lab "$$state/lab" $(bin)/pytest --no-skips -s --rounds '$(ROUNDS)' tests/e2e/test_parallel.py

.PHONY: unit
unit: .venv/.ready ## the tests that need no libvirt (seconds)
	$(bin)/pytest -m 'not lab' $(PYTEST_ARGS)

.PHONY: compat
compat: setup guests ## the life of VMs on other releases of Debian (SUITES='bullseye bookworm trixie forky')
	@for suite in $(SUITES); do tests/lab/guests/debian-root "$$suite" >/dev/null || exit; done
	@state=$$(mktemp -d); trap 'rm -rf "$$state"' EXIT; \
	VMP_IN_LAB=yes SUITES='$(SUITES)' tests/lab/lab "$$state/lab" $(bin)/pytest --no-skips -q -s tests/compat

.PHONY: guests
guests: ## build the guests of the tests, if they are not in the cache
	@tests/lab/guests/tiny-iso >/dev/null
	@tests/lab/guests/tiny-disk >/dev/null
	@tests/lab/guests/debian-cloud >/dev/null
	@tests/lab/guests/debian-installer >/dev/null
	@tests/lab/guests/debian-root trixie >/dev/null

.PHONY: check
check: .venv/.ready ## format, lint, types, shell, and whether the reference is current
	$(bin)/ruff format --quiet --check .
	$(bin)/ruff check --quiet .
	$(bin)/mypy --no-error-summary
	@shellcheck $(shell_files)
	@shfmt -d -i 0 -ci $(shell_files)
	$(bin)/python tools/reference.py --check

.PHONY: format
format: .venv/.ready ## format all code
	$(bin)/ruff format --quiet .
	$(bin)/ruff check --quiet --fix .
	shfmt -w -i 0 -ci $(shell_files)

.PHONY: reference
reference: .venv/.ready ## write docs/reference/ anew from the code
	$(bin)/python tools/reference.py

.PHONY: golden
golden: .venv/.ready ## write the expected output of tests/cases anew; read the diff
	VMP_REWRITE_GOLDEN=1 $(bin)/pytest --quiet tests/test_cases.py
	git diff --stat -- tests/cases

.PHONY: bench
bench: setup ## measure beside kcli and the floor (BENCH='compile lifecycle nodes uploads')
	@$(bin)/python benchmarks/bench.py $(BENCH) $(BENCH_ARGS)

.PHONY: bench-compile
bench-compile: .venv/.ready ## measure the compiler alone
	@$(bin)/python benchmarks/bench.py compile $(BENCH_ARGS)

.PHONY: bench-lifecycle
bench-lifecycle: setup ## measure the targets of VMs alone
	@$(bin)/python benchmarks/bench.py lifecycle $(BENCH_ARGS)

.PHONY: bench-record
bench-record: ## measure (BENCH=...), and write the tables into docs/explanation/performance.md
	@$(MAKE) --no-print-directory bench BENCH_ARGS='--write docs/explanation/performance.md'

.PHONY: dist
dist: .venv/.ready ## build the wheel and the self-contained file dist/vmp
	@tools/build-dist

.PHONY: clean
clean: ## remove what the other targets made here
	rm -rf dist build .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis

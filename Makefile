# Concord: `make` lists the targets. The work is done by the scripts in .ci/ and beside the tests.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Every language builds into one folder, so that nothing is compiled twice.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export LC_ALL := C.UTF-8
export MIX_QUIET ?= 1

PREFIX ?= /usr/local
DESTDIR ?=
ROUNDS ?= 1000
SEEDS ?= 10000
SEED_FIRST ?= 1

.PHONY: help
help: ## this table
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: tools build ## one store through four languages and kill -9, in about a minute
	@tests/demo/run.sh

.PHONY: cluster
cluster: build ## three local members and their status until Ctrl-C; PORT=7401, CONCORD_COOKIE
	@tests/demo/cluster.sh

.PHONY: test test-rust test-c test-python test-elixir test-http test-console test-mixed test-metrics test-readme
test: test-rust test-c test-python test-elixir test-http test-console test-mixed test-metrics test-readme ## every test of every language
	@echo "make test: all parts passed"

test-rust: ## unit, documentation, conformance, model and crash tests
	@.ci/tools rust
	cargo test --locked -p concord-kv -p concord-kv-c

test-c: build ## C and C++: stories, conformance, examples, valgrind, installed packages
	@.ci/tools c
	tests/c/run.sh

test-python: build ## Python: stories, conformance, asyncio, fork
	@.ci/tools python
	python/tests/run.sh

test-elixir: build ## Elixir: stories, doctests, conformance
	@.ci/tools elixir
	cd elixir && mix test

test-http: build ## the running program against its own OpenAPI document
	@.ci/tools http
	tests/http/schemathesis.sh

test-console: build ## the console of a real cluster in a real browser; pictures in target/console
	@.ci/tools console
	tests/console/run.sh

test-mixed: tools build ## one cluster of Elixir, Python and C; each leads and is killed with -9
	tests/mixed/run.sh

test-metrics: ## the metrics text, read by the parser of Prometheus' client library
	@.ci/tools rust python
	tests/metrics/run.sh

test-readme: tools build ## the quick starts of README.md as they stand there
	tests/readme/run.sh

.PHONY: check
check: tools ## the read-only gate: formats, lints, docs, header, house rules
	@.ci/check

.PHONY: fix
fix: tools ## whatever `make check` can repair by itself
	@.ci/fix

.PHONY: bench
bench: tools build ## every measured claim beside its baseline, into target/bench.json and README.md
	@benches/bench.sh

.PHONY: crash
crash: ## ROUNDS=1000 kills with -9
	CONCORD_CRASH_ROUNDS=$(ROUNDS) cargo test --locked --test crash -- --nocapture

.PHONY: chaos
chaos: ## SEEDS=10000 schedules of faults against simulated clusters, in two processes; SEED_FIRST=1
	@.ci/tools rust
	cargo test --locked --release --lib --no-run
	ulimit -v 12000000; half=$$(( ($(SEEDS) + 1) / 2 )); \
	SEED_FIRST=$(SEED_FIRST) SEEDS=$$half WORKERS=1 cargo test --locked --release --lib simulation::many -- --nocapture & first=$$!; \
	SEED_FIRST=$$(( $(SEED_FIRST) + half )) SEEDS=$$(( $(SEEDS) - half )) WORKERS=1 cargo test --locked --release --lib simulation::many -- --nocapture && second=0 || second=1; \
	wait $$first && exit $$second

.PHONY: build
build: ## the program and the libraries, optimised
	@.ci/tools rust
	cargo build --locked --release --workspace

.PHONY: install
install: build ## PREFIX=/usr/local: program, C library, headers, pkg-config and CMake files
	install -D -m 755 $(CARGO_TARGET_DIR)/release/concord $(DESTDIR)$(PREFIX)/bin/concord
	bindings/c/install.sh $(PREFIX) $(DESTDIR)

.PHONY: tools
tools: ## what a fresh machine lacks (as root through apt-get; otherwise says what to install)
	@.ci/tools rust c python elixir

.PHONY: clean
clean: ## everything that was built
	rm -rf $(CARGO_TARGET_DIR) .venv elixir/_build elixir/priv/native python/build

# Everything starts here: `make demo` to see it, `make test` to trust it. Both set a bare Debian-like machine up first
# (deploy/setup); Rust is the one thing that must be there before.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(PATH):$(HOME)/.cargo/bin
CARGO_TARGET_DIR ?= $(CURDIR)/target
fulfil := $(CARGO_TARGET_DIR)/debug/fulfil

.PHONY: help setup build demo test crash-matrix chaos cluster simulation upgrade long fuzz planted-bugs bench bench-sweeps bench-micro e2e-compose servers servers-down alerts check

help: ## What there is
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

setup: ## Install what this machine lacks (quiet where nothing is missing)
	@deploy/setup

build: setup ## Build the services and the fulfil program
	cargo build --workspace --bins

demo: build ## Start everything and walk one order down each path
	$(fulfil) demo

# Most tests wait for a server or another process for most of their time, so more of them run than there are cores.
test: ## Run all tests against servers of their own
	@deploy/setup browser
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} deploy/with-servers cargo test --workspace

crash-matrix: setup ## Kill, fail and stall every process at every boundary (FULFIL_CRASH_MATRIX=relay: those of the relay)
	FULFIL_CRASH_MATRIX=$${FULFIL_CRASH_MATRIX:-whole} deploy/with-servers cargo test --workspace --test it crash_matrix -- --nocapture

chaos: setup ## Break everything at random under load for half an hour (FULFIL_CHAOS_SECONDS, FULFIL_SEED)
	FULFIL_CHAOS_SECONDS=$${FULFIL_CHAOS_SECONDS:-1800} deploy/with-servers cargo test --workspace --test it chaos -- --nocapture

cluster: setup ## Kill the leaders of three brokers for five minutes, then the primary database, twice, under load
	FULFIL_CLUSTER=$${FULFIL_CLUSTER:-whole} deploy/with-servers cargo test --workspace --test it cluster:: -- --nocapture

simulation: setup ## Run the machinery over models of Postgres and Kafka, a hundred thousand seeds (FULFIL_SEEDS, FULFIL_SEED)
	FULFIL_SEEDS=$${FULFIL_SEEDS:-$$([ -n "$$FULFIL_SEED" ] && echo 1 || echo 100000)} cargo test --release --package e2e --test it simulation -- --nocapture

e2e-compose: setup ## Run the end-to-end tests against the system in containers (needs Docker)
	deploy/e2e-compose

upgrade: setup ## Replace services by a next build of themselves under load, there, back and there again
	next=$$(deploy/next) && FULFIL_NEXT=$$next deploy/with-servers cargo test --workspace --test it upgrade:: -- --ignored --nocapture

# Tests that FULFIL_LONG makes long: the rows of e2e/README.md that say so.
long_rows := positions_are_gapless_whatever snapshot_held dumps_hold_a_snapshot while_kafka_is_away minutes_doubles_and_buries rebalances_all_the_time \
	a_crowd_of_slow a_backlog_of_a_million nothing_but_poison of_a_large_view

long: setup ## Have the failures that last for minutes in full, some hours (LONG=rebalances: those with that in their name)
	FULFIL_LONG=1 deploy/with-servers cargo test --workspace --test it -- --include-ignored --nocapture --test-threads 1 $(or $(LONG),$(long_rows))
	$(if $(LONG),,$(MAKE) upgrade)

fuzz: setup ## Throw bytes at everything that reads strangers' bytes, FUZZ_SECONDS (600) a target
	deploy/fuzz

bench: setup ## Measure the floor and the product in turn, saturated and at 50 orders/s (BENCH="--orders 200000 --runs 1")
	cargo build --release --workspace --bins
	cargo bench --package e2e --bench saga -- --dir $(CURDIR)/.servers/bench $(BENCH)

bench-sweeps: setup ## The same, then load, size of the log, restart, backlog, replicas, skus and lines, and write e2e/BENCHMARKS.md
	cargo build --release --workspace --bins
	cargo bench --package e2e --bench saga -- --sweep --dir $(CURDIR)/.servers/bench $(BENCH)

bench-micro: setup ## Measure the steps of a message through a service, in time and in instructions (needs valgrind)
	cargo bench --package e2e --bench hot_path
	deploy/instructions

planted-bugs: setup ## Show that the tests see each bug of e2e/planted
	deploy/with-servers deploy/planted-bugs

servers: build ## Start Kafka and Postgres for running single tests by hand
	@$(fulfil) dev up --servers-only --ports auto --dir .servers/test
	@echo "export FULFIL_TEST_SERVERS=$(CURDIR)/.servers/test"

servers-down: ## Stop those again
	@$(fulfil) dev down --wipe --dir .servers/test

alerts: setup ## Check that each alert of deploy/prometheus fires where it should
	deploy/check-alerts

check: setup ## Format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings

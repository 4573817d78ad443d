# Everything starts here: `make demo` to see it, `make test` to trust it. Both set a bare Debian-like machine up first
# (deploy/setup); Rust is the one thing that must be there before.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(PATH):$(HOME)/.cargo/bin
CARGO_TARGET_DIR ?= $(CURDIR)/target
fulfil := $(CARGO_TARGET_DIR)/debug/fulfil

.PHONY: help setup build demo test crash-matrix chaos cluster fuzz planted-bugs e2e-compose servers servers-down check

help: ## What there is
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

setup: ## Install what this machine lacks (quiet where nothing is missing)
	@deploy/setup

build: setup ## Build the services and the fulfil program
	cargo build --workspace --bins

demo: build ## Start everything and walk one order down each path
	$(fulfil) demo

test: setup ## Run all tests against servers of their own
	deploy/with-servers cargo test --workspace

crash-matrix: setup ## Kill, fail and stall every process at every boundary (FULFIL_CRASH_MATRIX=relay: those of the relay)
	FULFIL_CRASH_MATRIX=$${FULFIL_CRASH_MATRIX:-whole} deploy/with-servers cargo test --workspace --test it crash_matrix -- --nocapture

chaos: setup ## Break everything at random under load for half an hour (FULFIL_CHAOS_SECONDS, FULFIL_SEED)
	FULFIL_CHAOS_SECONDS=$${FULFIL_CHAOS_SECONDS:-1800} deploy/with-servers cargo test --workspace --test it chaos -- --nocapture

cluster: setup ## Kill the leaders of three brokers for five minutes, then the primary database, twice, under load
	FULFIL_CLUSTER=$${FULFIL_CLUSTER:-whole} deploy/with-servers cargo test --workspace --test it cluster:: -- --nocapture

e2e-compose: setup ## Run the end-to-end tests against the system in containers (needs Docker)
	deploy/e2e-compose

fuzz: setup ## Throw bytes at everything that reads strangers' bytes, FUZZ_SECONDS (600) a target
	deploy/fuzz

planted-bugs: setup ## Show that the tests see each bug of e2e/planted
	deploy/with-servers deploy/planted-bugs

servers: build ## Start Kafka and Postgres for running single tests by hand
	@$(fulfil) dev up --servers-only --ports auto --dir .servers/test
	@echo "export FULFIL_TEST_SERVERS=$(CURDIR)/.servers/test"

servers-down: ## Stop those again
	@$(fulfil) dev down --wipe --dir .servers/test

check: setup ## Format and lints, as the gate has them
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings

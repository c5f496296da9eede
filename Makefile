# Ringwall: every command a developer needs. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo

.PHONY: help run test lint unit docs check clients suites fuzz soak bench fmt packages client-packages bench-packages

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: packages ## install what is missing, build the release binary and start the demo
	$(CARGO) build --release --locked
	target/release/ringwall demo

test: packages lint unit docs check clients ## everything that CI runs

lint: packages ## formatting and clippy, no warning allowed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

unit: packages ## unit, integration, house and documentation tests
	$(CARGO) test --workspace --locked

docs: packages ## the documentation builds without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items --locked

check: packages ## every configuration that we ship is valid
	$(CARGO) build --locked
	@# example.toml names keys and certificates that are not here; a unit test of `config` reads it.
	@for file in config/quickstart.toml config/suites.toml bench/*.toml; do target/debug/ringwall check "$$file"; done

clients: packages client-packages ## the official OpenAI and MCP clients, unchanged, through the gateway
	tests/clients/run.sh

suites: packages ## attack suites from ../shared, each with its negative control
	@.ci/packages python3
	@tests/suites.sh

FUZZ_SECONDS ?= 20
FUZZ_TARGETS = head chunked proxy sse json message masker

fuzz: packages ## each fuzz target for FUZZ_SECONDS, from the corpus in tests/fuzz
	@.ci/packages g++
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	@# Without a sanitizer it builds with the stable compiler, and there is next to no unsafe code.
	@for target in $(FUZZ_TARGETS); do \
	  mkdir -p target/fuzz/found/$$target target/fuzz/artifacts/$$target; \
	  $(CARGO) fuzz run --fuzz-dir tests/fuzz --sanitizer none --target-dir target/fuzz $$target \
	    target/fuzz/found/$$target tests/fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) \
	    -timeout=10 -rss_limit_mb=2048 -artifact_prefix=target/fuzz/artifacts/$$target/ -verbosity=0 \
	    -print_final_stats=1 || exit 1; done

soak: packages ## twenty minutes of mixed load with faults; memory, records and descriptors are watched
	$(CARGO) build --release --locked
	python3 tests/soak.py

bench: packages bench-packages ## CPU per request against nginx, in one run
	$(CARGO) build --release --locked
	python3 bench/compare.py

fmt: ## format the sources
	$(CARGO) fmt --all

packages:
	@.ci/packages libhyperscan-dev pkg-config gcc

client-packages:
	@python3 -c 'import ensurepip' 2>/dev/null || .ci/packages python3 python3-venv

bench-packages:
	@.ci/packages nginx-light:nginx wrk util-linux:taskset python3

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
# E.g. --locked or --offline, for every call of cargo that builds.
CARGO_FLAGS ?=
# Where the binaries are built; cargo reads the same variable.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build all binaries for release
	$(CARGO) build $(CARGO_FLAGS) --release --workspace --bins

.PHONY: demo
demo: ## Show changes on a stand-in node being delivered (CHANGES=20 INTERVAL=1s; needs root)
	@scripts/install-deps demo
	@$(CARGO) build $(CARGO_FLAGS) --quiet --release --workspace --bins
	@$(TARGET)/release/demo $(if $(CHANGES),--changes $(CHANGES)) $(if $(INTERVAL),--interval $(INTERVAL))

.PHONY: test
test: ## Run all tests but e2e's; without root those that need a node are skipped
	@scripts/install-deps test
	$(CARGO) build $(CARGO_FLAGS) --workspace --bins
	$(CARGO) test $(CARGO_FLAGS) --workspace --exclude cluster-suite --no-fail-fast
	scripts/check-hooks $(TARGET)/debug/reloadlet

.PHONY: e2e
e2e: ## Run the tests that need Kubernetes, in a cluster that is started for them (needs root)
	@tests/cluster/install-deps
	@CARGO_FLAGS="$(CARGO_FLAGS)" tests/cluster/e2e

.PHONY: bench
bench: ## Measure reloadlet against a floor and the usual shell loop (QUICK=1 for less; needs root)
	@scripts/install-deps bench
	@$(CARGO) build $(CARGO_FLAGS) --quiet --release --workspace --bins
	@$(TARGET)/release/bench $(if $(QUICK),--quick)

.PHONY: bench-cluster
bench-cluster: ## Measure reloadlet on a node with a kubelet, in a cluster that is started for it (needs root)
	@tests/cluster/install-deps
	@CARGO_FLAGS="$(CARGO_FLAGS)" tests/cluster/bench
	@CARGO_FLAGS="$(CARGO_FLAGS)" tests/cluster/bench publish

.PHONY: bench-controller
bench-controller: ## Measure the controller's memory, in a cluster that is started for it (needs root)
	@tests/cluster/install-deps
	@CARGO_FLAGS="$(CARGO_FLAGS)" tests/cluster/bench-controller

.PHONY: simulate
simulate: ## Try 20,000 seeds of the core's simulation that nobody has tried (SEEDS=20000 FIRST=<seed>)
	RELOADLET_SEEDS=$(or $(SEEDS),20000) RELOADLET_FIRST_SEED=$(or $(FIRST),$(shell date +%s)) \
		$(CARGO) test $(CARGO_FLAGS) --release -p reloadlet-core --test machine --test rollouts simulation

.PHONY: kills
kills: ## Make 10,000 changes on a stand-in node while the agent is killed 200 times (needs root)
	@scripts/install-deps test
	$(CARGO) build $(CARGO_FLAGS) --workspace --bins
	NODE_SUITE_KILLS=200 NODE_SUITE_CHANGES_PER_KILL=50 \
		$(CARGO) test $(CARGO_FLAGS) --package node-suite kill_9 -- --nocapture

.PHONY: mutants
mutants: ## Change what decides, one place at a time, and have the core's tests find each change (an hour or more)
	@scripts/mutants $(ARGS)

.PHONY: lint
lint: ## Check format, clippy, dependencies, what the product is made of, circles of modules, the length of files, the tests of docs/security.md, alerts and dashboard
	@scripts/install-deps lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	scripts/check-product
	scripts/check-wings
	scripts/check-length
	scripts/check-security
	shellcheck $$(grep -rlI --exclude-dir=target '^#!.*\(ba\)\?sh$$' .ci scripts tests)
	scripts/check-monitoring
	scripts/cargo-deny check bans licenses sources

.PHONY: doc
doc: ## Build the documentation of the code; a broken link is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(CARGO_FLAGS) --workspace --no-deps --document-private-items

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean

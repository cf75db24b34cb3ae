# `make` alone explains itself. Works with GNU make 3.81, which macOS has.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash

# infra/setup.sh puts there what the machine lacks; what the machine has is used where .tools has nothing.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

# In CI a Cargo.lock that no longer fits is an error, not something to mend in passing.
LOCKED := $(if $(CI),--locked)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- running ----------------------------------------------------------------------------------------------------------

# `exec`, so that Ctrl-C and the exit code are the program's own and no shell stands between.
.PHONY: run
run: setup-run web ## everything on this machine at http://127.0.0.1:8080 (ARGS="--listen … --data …")
	@exec cargo run $(LOCKED) -p local -- $(ARGS)

.PHONY: compose
compose: ## everything in containers at http://localhost:8080, with two gateways and PostgreSQL
	@infra/secrets.sh
	@exec docker compose -f infra/compose.yaml up --build $(ARGS)

# --- the web page -----------------------------------------------------------------------------------------------------

# The servers embed web/app/dist, so it has to be there before any of them compiles.
.PHONY: web
web: setup-web web/app/dist/index.html ## build the web page, if its sources are newer

WEB_SOURCES = $(shell find web \( -name node_modules -o -name dist \) -prune -o -type f -print)

# npm writes this file last; touched, because npm leaves its time alone when nothing changed.
web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	npm ci --prefix web --no-audit --no-fund
	@touch $@

web/app/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	npm run build --prefix web
	@touch $@

# --- checking ---------------------------------------------------------------------------------------------------------

.PHONY: test
test: setup-test web tests/node/node_modules/.package-lock.json ## every test: Rust with real NATS, PostgreSQL and S3, browsers, and the web client's
	cargo test $(LOCKED) --workspace
	npm test --prefix web

# The official Socket.IO client and Playwright, for the stories.
tests/node/node_modules/.package-lock.json: tests/node/package.json tests/node/package-lock.json
	npm ci --prefix tests/node --no-audit --no-fund
	@touch $@

.PHONY: lint
lint: setup-lint web ## formatting, lints and types of Rust and web, rustdoc, licences and origins of dependencies
	cargo fmt --all --check
	cargo deny $(LOCKED) --log-level error check -A duplicate licenses bans sources
	npm run lint --prefix web
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(LOCKED) --workspace --no-deps

.PHONY: advisories
advisories: setup-lint ## known holes in what we use; fetches their list, so it needs the internet
	cargo deny $(LOCKED) check advisories

.PHONY: bench
bench: setup-bench web bench/peers/node_modules/.package-lock.json ## measure what is ours and its peers side by side (ARGS="--alone --only fanout")
	cargo build $(LOCKED) --release -p gateway -p functions -p provision -p bench
	target/release/bench run $(ARGS)

# The peers on Node: socket.io with its Redis adapter, and ws.
bench/peers/node_modules/.package-lock.json: bench/peers/package.json bench/peers/package-lock.json
	npm ci --prefix bench/peers --no-audit --no-fund
	@touch $@

.PHONY: ci
ci: setup-ci lint test ## what CI runs: lint and test

# Silent and done in a fraction of a second when nothing is missing.
.PHONY: setup-run setup-test setup-lint setup-ci setup-web setup-bench
setup-run setup-test setup-lint setup-ci setup-web setup-bench:
	@infra/setup.sh $(@:setup-%=%)

# --- cleaning ---------------------------------------------------------------------------------------------------------

.PHONY: clean
clean: ## remove what was built; keeps the data of `make run` (.local) and the tools (.tools)
	cargo clean
	rm -rf web/node_modules web/*/node_modules web/*/dist tests/node/node_modules bench/peers/node_modules

.PHONY: clean-tools
clean-tools: ## remove what setup brought into .tools; the next `make` brings it again
	rm -rf .tools

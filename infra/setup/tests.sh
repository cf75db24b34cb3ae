# What the tests need besides the servers: PostgreSQL, Chromium, Python packages. Sourced by infra/setup.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are assigned in infra/setup.sh

has_postgres() {
    local initdb
    for initdb in /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql@*/bin/initdb \
        /usr/local/opt/postgresql@*/bin/initdb; do
        [ -x "$initdb" ] && [ -x "${initdb%initdb}postgres" ] && return
    done
    has_command initdb && has_command postgres
}

ensure_postgres() {
    has_postgres && return
    info 'the PostgreSQL server is missing (tests and benchmarks start their own): installing it, without a service'
    if is_macos; then
        brew_install PostgreSQL postgresql@17
    else
        # By default the package creates and starts a cluster. The setting is removed on exit: later clusters are the
        # decision of the machine's owner.
        if [ ! -e "$pg_drop_in" ] && { [ "$(id -u)" = 0 ] || has_command sudo; }; then
            # shellcheck disable=SC2034 # read in infra/setup.sh
            pg_drop_in_made=1
            as_root sh -c "mkdir -p '${pg_drop_in%/*}' && echo 'create_main_cluster = false' >'$pg_drop_in'"
        fi
        apt_install PostgreSQL postgresql
    fi
    has_postgres || die 'PostgreSQL was installed, but its initdb is not in /usr/lib/postgresql'
}

# One test connects to PostgreSQL through it. RUNLEVEL=1 stops the package from starting a service.
ensure_pgbouncer() {
    { has_command pgbouncer || [ -x /usr/sbin/pgbouncer ]; } && return
    info 'PgBouncer is missing (a test connects to PostgreSQL through it): installing it, without a service'
    if is_macos; then
        brew_install PgBouncer pgbouncer
    else
        RUNLEVEL=1 apt_install PgBouncer pgbouncer
    fi
}

# The tests run `chromium`. Where the browser has another name, .tools/bin/chromium starts it.
wrap_other_chromium() {
    local path
    for path in "$(command -v chromium-browser || true)" "$(command -v google-chrome || true)" \
        "$(command -v google-chrome-stable || true)" \
        '/Applications/Chromium.app/Contents/MacOS/Chromium' \
        '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'; do
        if [ -n "$path" ] && [ -x "$path" ]; then
            # A script, not a symbolic link: Chrome finds its libraries relative to the path it was started by.
            mkdir -p "$tools/bin"
            printf '#!/bin/sh\nexec "%s" "$@"\n' "$path" >"$tools/bin/chromium"
            chmod +x "$tools/bin/chromium"
            return
        fi
    done
    return 1
}

ensure_chromium() {
    has_command chromium && return
    wrap_other_chromium && return
    info 'Chromium is missing (tests drive the web page in it): installing it'
    if is_macos; then
        brew_install 'a browser' --cask google-chrome
        wrap_other_chromium || die 'Google Chrome was installed, but is not in /Applications'
        return
    fi
    # Ubuntu's package only installs the snap, which does not work in containers and cannot read the tests' folders.
    if has_command apt-cache &&
        apt-cache policy chromium chromium-browser 2>/dev/null | grep -q 'Candidate:.*snap'; then
        die 'apt has Chromium only as a snap, which the tests cannot use: install Google Chrome, then run this again'
    fi
    # The fonts cover the scripts and emoji of the test messages.
    apt_install Chromium chromium fonts-noto-cjk fonts-noto-color-emoji
    hash -r
    has_command chromium || die 'Chromium was installed, but is not on PATH'
}

# python_packages FOLDER REQUIREMENTS TITLE PURPOSE: installs into .tools/FOLDER. One folder per requirements file,
# because the dependencies of two may conflict.
python_packages() {
    local folder=$tools/$1 requirements=$root/tests/python/$2
    cmp -s "$requirements" "$folder/requirements.txt" && return
    info "$3 is missing ($4): installing it into .tools"
    if is_macos; then
        has_command python3 || brew_install Python python
    else
        ensure_pip "it downloads the tests' Python packages"
    fi
    rm -rf "$folder"
    pip_install "$folder" --requirement "$requirements" || die_with_log "$3 could not be downloaded"
    cp "$requirements" "$folder/requirements.txt"
}

ensure_python_client() {
    python_packages python requirements.txt 'the Python client of Socket.IO' 'a test chats with it'
}

ensure_caddy() {
    python_packages caddy caddy.txt Caddy 'a test runs `local` behind it'
}

has_new_python() {
    has_command python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

ensure_schemathesis() {
    # Schemathesis needs Python 3.11. With an older one, pip only reports that no version was found.
    if ! has_new_python; then
        if is_macos; then
            brew_install Python python
        else
            has_command python3 || apt_install 'Python (Schemathesis is written in it)' python3 python3-pip
        fi
        hash -r
        has_new_python ||
            die "Schemathesis needs Python 3.11 or newer: install it; PATH finds $(python3 --version 2>&1 || echo none)"
    fi
    python_packages schemathesis schemathesis.txt Schemathesis 'a test checks the HTTP API against OpenAPI'
}

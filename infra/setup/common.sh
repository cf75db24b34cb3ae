# Helper functions of infra/setup.sh. Sourced by it; uses its variables root, tools and log.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are assigned in infra/setup.sh

info() { printf 'setup: %s\n' "$*"; }

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Runs a command with its output appended to the log.
run_logged() {
    mkdir -p "$tools"
    printf '\n$ %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1
}

# die_with_log MESSAGE: exits with the message and the last line of the log.
die_with_log() {
    local last
    # apt ends with a generic line; the line before it names the reason.
    last=$(grep -v -e '^[[:space:]]*$' -e 'Some index files failed to download' "$log" | tail -n 1 || true)
    die "$1 (last line of output: ${last:-none}; full output: ${log#"$PWD"/})"
}

has_command() { command -v "$1" >/dev/null 2>&1; }

# version_at_least 2.15.1 2.12.6: compares three numbers; a suffix after `-` or `+` is ignored.
version_at_least() {
    local IFS=. i
    # shellcheck disable=SC2206 # word splitting at the dots is intended
    local have=(${1%%[-+]*}) want=($2)
    for i in 0 1 2; do
        case ${have[i]:-0} in *[!0-9]*) return 1 ;; esac
        [ "${have[i]:-0}" -gt "${want[i]:-0}" ] && return 0
        [ "${have[i]:-0}" -lt "${want[i]:-0}" ] && return 1
    done
    return 0
}

is_macos() { [ "$(uname -s)" = Darwin ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# require_apt TITLE PACKAGE…: exits unless packages can be installed; updates the package lists once per run, because
# outdated lists name versions that the mirror has removed.
apt_updated=
require_apt() {
    local title=$1
    shift
    if ! has_command apt-get; then
        die "neither apt-get nor Homebrew was found: install $title by hand, then run this again"
    fi
    if [ "$(id -u)" != 0 ] && ! has_command sudo; then
        die "installing $title needs root, and sudo was not found; as root: apt-get install $*"
    fi
    [ -z "$apt_updated" ] || return 0
    run_logged as_root apt-get -o DPkg::Lock::Timeout=300 update ||
        die_with_log "apt-get update failed; it is needed to install $title"
    apt_updated=1
}

# apt_install TITLE PACKAGE…
apt_install() {
    local title=$1
    shift
    require_apt "$title" "$@"
    run_logged as_root env DEBIAN_FRONTEND=noninteractive ${RUNLEVEL:+"RUNLEVEL=$RUNLEVEL"} \
        apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "$@" ||
        die_with_log "apt-get could not install $title"
}

# brew_install TITLE ARGUMENT…
brew_install() {
    local title=$1
    shift
    has_command brew || die "Homebrew is needed to install $title: get it from https://brew.sh, then run this again"
    run_logged brew install "$@" || die_with_log "brew could not install $title"
}

# ensure_pip PURPOSE
ensure_pip() {
    python3 -m pip --version >/dev/null 2>&1 || apt_install "pip ($1)" python3 python3-pip
}

# pip_install FOLDER ARGUMENT…: installs into a folder rather than a virtual environment, which would need one more
# Debian package.
pip_install() {
    local folder=$1
    shift
    run_logged python3 -m pip --disable-pip-version-check install --root-user-action ignore --no-compile --quiet \
        --target "$folder" "$@"
}

#!/usr/bin/env bash
# Starts the compose files in containers and runs the test `containers` against them. `make compose-test` calls it after
# infra/setup.sh installed what it needs.
#
# No Docker daemon and no image registry are needed: podman runs the containers, its API serves the real Docker Compose,
# and images.sh builds all images locally. Needs root, because rootless containers cannot have the networks and file
# capabilities that the compose file uses.
#
# The containers run in network, mount and process namespaces of their own (services.sh). They cannot be disturbed by
# the machine's ports, firewall and containers, and nothing outlives the test, however it ends.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
readonly here root
readonly tools=$root/.tools
readonly state=$tools/containers-state
readonly log=$state/run.log
readonly target=${CARGO_TARGET_DIR:-$root/target}

die() {
    printf 'compose-test: %s\n' "$*" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || die 'needs root, for networks and file capabilities of containers'

work=
inside=
clean_up() {
    local status=$?
    trap - EXIT
    # Ends everything in the namespaces.
    [ -z "$inside" ] || kill -KILL "$inside" 2>/dev/null || true
    rm -rf "$work"
    [ "$status" = 0 ] || printf 'compose-test: failed; output of the engine and of the services: %s\n' "$log" >&2
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$state"
: >"$log"
work=$(mktemp -d "$state/work.XXXXXX")
"$root/infra/secrets.sh"
# shellcheck source=tests/containers/settings.sh
. "$here/settings.sh"

# The images are kept apart from the machine's own. The folder `libpod` records where the others are, so that they could
# not be moved; it holds nothing else here.
readonly images=$state/images
rm -rf "$images/libpod"
podman() { command podman --root "$images" --runroot "$state/run" --storage-driver overlay "$@"; }
# shellcheck source=tests/containers/images.sh
. "$here/images.sh"
build_images
# Run by itself and not by cargo, which would need the network.
test=$(cargo test ${CI:+--locked} --workspace --test containers --no-run --message-format json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
readonly test

export here root tools images log work test
unshare --net --mount --pid --mount-proc --kill-child "$here/services.sh" &
inside=$!
wait "$inside"
inside=

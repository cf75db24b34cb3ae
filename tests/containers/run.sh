#!/usr/bin/env bash
# Starts infra/compose.yaml in containers and runs the test `containers` against it. `make compose-test` calls it after
# infra/setup.sh installed what it needs.
#
# No Docker daemon and no image registry are needed: podman runs the containers, its API serves the real Docker Compose,
# and images.sh builds all images locally. Images, volumes and networks are kept apart from the machine's own podman.
# Needs root, because rootless containers cannot have the networks and file capabilities that the compose file uses.
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

export CONTAINERS_CONF=$here/containers.conf
engine=(podman --root "$state/storage" --runroot "$state/run" --network-config-dir "$state/networks")
podman() { command "${engine[@]}" "$@"; }

work=
service=
health=
clean_up() {
    local status=$?
    trap - EXIT
    if [ -n "$service" ]; then
        [ "$status" = 0 ] || "${compose[@]}" logs --no-color --tail 40 >>"$log" 2>&1 || true
        "${compose[@]}" down --volumes --timeout 1 >>"$log" 2>&1 || true
        # The service waits for open connections after SIGTERM; it holds nothing that must be written.
        kill -KILL "$health" "$service" || true
        wait 2>/dev/null || true
    fi
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
export SECRETS_FILE=$root/infra/.env
export DOCKER_HOST=unix://$work/podman.sock
# Ports that `make compose` and `make run` do not use.
export CHAT_PORT=18480 CHAT_S3_PORT=18490
compose=("$tools/containers/bin/docker-compose" --project-name chat-test --file "$root/infra/compose.yaml"
    --file "$here/compose.test.yaml")
export COMPOSE=${compose[*]}

# shellcheck source=tests/containers/images.sh
. "$here/images.sh"
build_images

# Not through the function, so that `$!` is the process and not a subshell.
"${engine[@]}" system service --time=0 "unix://$work/podman.sock" >>"$log" 2>&1 &
service=$!
for _ in {1..100}; do
    [ -S "$work/podman.sock" ] && break
    sleep 0.1
done
# podman leaves the schedule of health checks to systemd timers, which containers and minimal machines lack.
check_health() {
    local container
    while sleep 1; do
        for container in $(podman ps --quiet); do
            podman healthcheck run "$container" >/dev/null 2>&1 || true
        done
    done
}
check_health &
health=$!

"${compose[@]}" down --volumes --timeout 1 >>"$log" 2>&1
"${compose[@]}" up --detach --wait --wait-timeout 120 --no-build >>"$log" 2>&1 ||
    die 'the services did not become healthy'

cargo test ${CI:+--locked} --workspace --test containers -- --nocapture

# Settings of run.sh and services.sh. Sourced by both; uses their variables here, root, tools and work.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are assigned in run.sh

export CONTAINERS_CONF=$here/containers.conf
export DOCKER_HOST=unix:///run/podman.sock
export SECRETS_FILE=$root/infra/.env
export CHAT_PORT=8080 CHAT_S3_PORT=9000
# Caddy signs the certificates of these names by itself.
export CHAT_HOST=localhost CHAT_FILES_HOST=files.localhost

# use_files FILE…: selects the services that the following commands are for.
compose=()
use_files() {
    local file
    compose=("$tools/containers/bin/docker-compose" --project-name chat-test --profile monitoring)
    for file in "$@"; do compose+=(--file "$file"); done
    "${compose[@]}" config --format json | python3 "$here/addresses.py" >"$work/addresses.json"
    compose+=(--file "$work/addresses.json")
    export COMPOSE=${compose[*]}
}
files=("$root/infra/compose.yaml" "$root/infra/compose.seaweedfs.yaml" "$here/compose.test.yaml")
use_files "${files[@]}"

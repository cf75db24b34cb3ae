#!/usr/bin/env bash
# Starts each set of services and runs its test. run.sh starts it in new namespaces, in which it is process 1: when it
# ends, so do all containers.
# shellcheck disable=SC2154 # the variables are exported by run.sh
set -euo pipefail

# shellcheck source=tests/containers/settings.sh
. "$here/settings.sh"
ip link set lo up

# All instances of podman on a machine record the addresses and names of running containers here. With the records that
# a killed test left behind, podman's DNS serves not all networks, and gives addresses that no longer exist.
mount -t tmpfs tmpfs /run

# Containers and volumes are new in each run; images come from run.sh.
engine=(podman --root "$work/storage" --runroot /run/engine --network-config-dir /run/networks
    --storage-driver overlay --storage-opt "additionalimagestore=$images")
podman() { command "${engine[@]}" "$@"; }

clean_up() {
    local status=$?
    trap - EXIT
    [ "$status" = 0 ] || "${compose[@]}" logs --no-color --tail 40 >>"$log" 2>&1 || true
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"${engine[@]}" system service --time=0 "$DOCKER_HOST" >>"$log" 2>&1 &
for _ in {1..100}; do
    [ -S "${DOCKER_HOST#unix://}" ] && break
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

# start_services [SERVICE…]: starts these services, or all, and waits until they are healthy.
start_services() {
    if ! "${compose[@]}" up --detach --wait --wait-timeout 120 --no-build "$@" >>"$log" 2>&1; then
        echo 'compose-test: the services did not become healthy' >&2
        exit 1
    fi
}
stop_services() { "${compose[@]}" down --volumes --timeout 1 >>"$log" 2>&1; }

# test_with TEST: starts the services, runs the test against them and stops them.
test_with() {
    start_services
    timeout 300 "$test" --exact "$1"
    stop_services
}

# Plays the pods of infra/k8s/base beside the stand-ins of the compose files.
test_pods() {
    use_files "${files[@]}" "$here/kube/compose.yaml"
    start_services nats postgres storage
    ENGINE="${engine[*]}" NETWORK=chat-test_edge ADDRESSES=$work/addresses.json CLIENT_PATH=$tools/python \
        PYTHONPATH=$tools/lint timeout 300 python3 "$root/tests/python/pods.py"
    stop_services
}

test_with system::the_compose_file_serves_a_chat
use_files "${files[@]}" "$root"/infra/compose.{cluster,tls}.yaml "$here/compose.cluster.yaml"
test_with cluster::a_cluster_serves_over_tls
test_pods

# What the compose test needs: podman, Docker Compose and the servers of its stand-in images. Sourced by infra/setup.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are assigned in infra/setup.sh

ensure_containers() {
    is_macos && die 'the compose test needs Linux: on macOS, start the compose file with Docker (make compose)'
    local program
    for program in podman runc mmdebstrap iptables ip objcopy /usr/lib/podman/netavark /usr/lib/podman/aardvark-dns; do
        has_command "$program" && continue
        info 'podman is missing (a test starts the compose file in it): installing it'
        # runc: Debian 12's crun refuses hosts with cgroups in hybrid mode. mmdebstrap makes the images' root file
        # systems.
        apt_install podman podman runc netavark aardvark-dns iptables iproute2 catatonit mmdebstrap binutils
        break
    done
    if [ ! -x "$tools/bin/prometheus" ]; then
        info 'Prometheus is missing (a test starts the compose file with it): installing it'
        unpack_prometheus
    fi
    python_packages containers ../containers/requirements.txt 'Docker Compose' 'a test starts the compose file with it'
    # The pods of infra/k8s are rendered by kubectl, and the Python client chats through them.
    ensure_python_linters
    ensure_python_client
}

# What the benchmark needs besides the servers: Linux with taskset, and Redis. Sourced by infra/setup.sh.
# shellcheck shell=bash

ensure_linux() {
    [ "$(uname -s)" = Linux ] || die 'the benchmark pins processes to cores and reads /proc: it runs on Linux only'
    has_command taskset || apt_install 'taskset (it pins processes to cores)' util-linux
}

ensure_redis() {
    has_command redis-server && return
    info 'Redis is missing (two socket.io processes are measured with its adapter): installing it'
    # RUNLEVEL=1 stops the package from starting a service.
    RUNLEVEL=1 apt_install Redis redis-server
    hash -r
}

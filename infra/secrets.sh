#!/usr/bin/env bash
# Creates infra/.env with random secrets for infra/compose.yaml. Existing values are kept, so it can run every time;
# variables that a newer version needs are added.
# To renew a secret: remove its line, run this script and restart the containers. infra/README.md describes the effect.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
# The file is created with mode 600, so no other user can ever read it.
umask 077
readonly file=.env

# Outside a git repository nothing can be committed by accident.
if git rev-parse --git-dir >/dev/null 2>&1 && ! git check-ignore --quiet "$file"; then
    echo "secrets: git does not ignore infra/.env; add /.env to infra/.gitignore first" >&2
    exit 1
fi

# random_password BYTES: hexadecimal, which needs no escaping, not even in a database URL. The leading letter keeps
# nats-server from parsing the value as a number.
random_password() { printf 'p%s' "$(head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n')"; }

# An Ed25519 private key as PEM (RFC 8410): a fixed header and 32 random bytes. It is assembled here because macOS's
# openssl cannot generate one. The value is a single line, in which compose replaces each \n by a line break.
random_signing_key() {
    local der
    der=$({ printf '\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20' && head -c 32 /dev/urandom; } |
        base64 | tr -d '\n')
    printf '"-----BEGIN PRIVATE KEY-----\\n%s\\n-----END PRIVATE KEY-----\\n"' "$der"
}

# add_missing NAME COMMAND…: appends the variable with the command's output, unless the file has it.
added=
add_missing() {
    local name=$1
    shift
    if [ -f "$file" ] && grep -q "^$name=" "$file"; then return; fi
    printf '%s=%s\n' "$name" "$("$@")" >>"$file"
    added="$added $name"
}

add_missing POSTGRES_PASSWORD random_password 24
add_missing POSTGRES_OWNER_PASSWORD random_password 24
add_missing POSTGRES_APP_PASSWORD random_password 24
add_missing NATS_FUNCTIONS_PASSWORD random_password 24
add_missing NATS_GATEWAY_PASSWORD random_password 24
add_missing NATS_ARCHIVE_PASSWORD random_password 24
add_missing NATS_PROVISION_PASSWORD random_password 24
add_missing NATS_SYS_PASSWORD random_password 24
# Some S3 implementations accept at most 20 and 40 characters, the usual lengths.
add_missing S3_ACCESS_KEY_ID random_password 8
add_missing S3_SECRET_ACCESS_KEY random_password 19
add_missing S3_PROVISION_KEY_ID random_password 8
add_missing S3_PROVISION_SECRET random_password 19
add_missing S3_APP_KEY_ID random_password 8
add_missing S3_APP_SECRET random_password 19
add_missing GRAFANA_PASSWORD random_password 24
add_missing SIGNING_KEY random_signing_key

[ -z "$added" ] || echo "secrets: added to infra/.env:$added"

#!/usr/bin/env bash
# Makes infra/.env, the secrets that infra/compose.yaml asks for: random, this machine's own, not in git.
# What is there already is kept, so it can run every time; a name that a newer version wants is added.
# To renew one: remove its line, run this, and start the containers again (infra/README.md says what each change does).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
# Only the owner may read it, from its first byte on.
umask 077
readonly file=.env

# A folder that is not git's has nothing to leak it to.
if git rev-parse --git-dir >/dev/null 2>&1 && ! git check-ignore --quiet "$file"; then
    echo "secrets: git would pick up infra/.env; put /.env into infra/.gitignore first" >&2
    exit 1
fi

# password BYTES: that many random ones. The letter in front keeps nats-server from reading the value as a number;
# hexadecimal needs no escaping anywhere, a database address included.
password() { printf 'p%s' "$(head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n')"; }

# An Ed25519 private key as PEM (RFC 8410): a fixed head and 32 random bytes. Written by hand because the openssl
# that macOS has cannot make one. One line: compose turns each \n into an end of line.
signing_key() {
    local der
    der=$({ printf '\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20' && head -c 32 /dev/urandom; } |
        base64 | tr -d '\n')
    printf '"-----BEGIN PRIVATE KEY-----\\n%s\\n-----END PRIVATE KEY-----\\n"' "$der"
}

added=
add() { # add NAME COMMAND…
    local name=$1
    shift
    if [ -f "$file" ] && grep -q "^$name=" "$file"; then return; fi
    printf '%s=%s\n' "$name" "$("$@")" >>"$file"
    added="$added $name"
}

add POSTGRES_PASSWORD password 24
add NATS_FUNCTIONS_PASSWORD password 24
add NATS_GATEWAY_PASSWORD password 24
add NATS_ARCHIVE_PASSWORD password 24
add NATS_PROVISION_PASSWORD password 24
add NATS_SYS_PASSWORD password 24
# As long as S3 keys commonly are: 20 and 40 characters are what some storages take at most.
add S3_ACCESS_KEY_ID password 8
add S3_SECRET_ACCESS_KEY password 19
add SIGNING_KEY signing_key

[ -z "$added" ] || echo "secrets: infra/.env has now:$added"

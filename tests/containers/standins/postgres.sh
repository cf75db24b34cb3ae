#!/bin/sh
# Starts PostgreSQL as the official image does: on the first start, creates the database and its user from POSTGRES_*.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
PATH=$bin:$PATH
# Root has few capabilities here, so that files of the user postgres are written as that user.
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }

mkdir -p "$PGDATA"
chown postgres:postgres "$PGDATA"
mkdir -p /var/run/postgresql && chown postgres:postgres /var/run/postgresql
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    as_postgres chmod 700 "$PGDATA"
    password=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" >"$password"
    chown postgres "$password"
    as_postgres initdb --username="$POSTGRES_USER" --pwfile="$password" --auth-local=trust \
        --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >/dev/null
    echo 'host all all all scram-sha-256' | as_postgres tee -a "$PGDATA/pg_hba.conf" >/dev/null
    # Not over TCP: the health check must fail until initialisation is complete.
    as_postgres pg_ctl --silent --wait -o "-c listen_addresses=''" start
    as_postgres psql --quiet --username="$POSTGRES_USER" --dbname=postgres --command="CREATE DATABASE \"$POSTGRES_DB\""
    for script in /docker-entrypoint-initdb.d/*.sh; do
        [ -e "$script" ] || continue
        as_postgres sh "$script"
    done
    as_postgres pg_ctl --silent --wait --mode=fast stop
fi
[ "$1" = postgres ] && shift
exec setpriv --reuid=postgres --regid=postgres --init-groups postgres -c listen_addresses='*' "$@"

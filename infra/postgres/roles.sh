#!/bin/sh
# Creates the database roles of infra/compose.yaml. PostgreSQL's image runs this once, when the volume is new. It is
# idempotent; to renew a password, or for a volume that is older than this script:
#     docker compose -f infra/compose.yaml exec postgres sh /docker-entrypoint-initdb.d/roles.sh
#
#   chat        superuser; only this script uses it
#   chat_owner  owns the database; `provision` changes the schema with it
#   chat_app    reads and changes rows; `functions` and `archive` use it
set -eu

# The passwords are read from the environment by psql, so that no process list shows them.
psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\getenv owner_password POSTGRES_OWNER_PASSWORD
\getenv app_password POSTGRES_APP_PASSWORD
SELECT format('CREATE ROLE %I LOGIN', name) FROM (VALUES ('chat_owner'), ('chat_app')) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE chat_owner PASSWORD :'owner_password';
ALTER ROLE chat_app PASSWORD :'app_password';

-- The owner of the database owns the schema `public` too (PostgreSQL 15 and later).
ALTER DATABASE :"DBNAME" OWNER TO chat_owner;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO chat_app;
GRANT USAGE ON SCHEMA public TO chat_app;
-- Tables of later migrations included.
ALTER DEFAULT PRIVILEGES FOR ROLE chat_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO chat_app;
ALTER DEFAULT PRIVILEGES FOR ROLE chat_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO chat_app;
SQL

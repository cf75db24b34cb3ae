-- Which servers can use this schema: those that know this migration or a later one. Servers compare it with the newest
-- migration that they know (functions/store/src/db/schema_version.rs), and a migration that contracts raises it.
CREATE TABLE schema_compat (
    oldest_known INTEGER NOT NULL
);
-- Migrations 5 to 9 only add.
INSERT INTO schema_compat (oldest_known) VALUES (9);

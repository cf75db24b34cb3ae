-- How far the database is with each stream: the newest seq of which it has taken anything. Written with every batch, so
-- a backup says it of itself. Sequences must never fall below it: see "Restoring" in infra/README.md.
CREATE TABLE stream_log (
    stream     TEXT PRIMARY KEY,
    stored_seq INTEGER NOT NULL
);

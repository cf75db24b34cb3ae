-- The same as migrations/postgres.
-- Rooms are unique and found without regard to case. The key is computed in Rust (protocol/src/fold.rs), because the
-- databases know other characters. NULL until `provision`, or for a room that the previous version creates the archive,
-- has computed it (functions/store/src/refold.rs).
ALTER TABLE room ADD COLUMN folded_name TEXT;
CREATE UNIQUE INDEX room_folded_name_key ON room (folded_name) WHERE deleted_at IS NULL;
CREATE INDEX room_unfolded_idx ON room (created_at, id) WHERE folded_name IS NULL AND deleted_at IS NULL;

-- The version of case folding that `parts` was computed with. The archive recomputes older ones in steps; ASCII texts
-- are the same in all versions.
ALTER TABLE message ADD COLUMN fold_version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX message_unfolded_idx ON message (room_id, seq) WHERE fold_version < 1 AND octet_length(msg) <> length(msg);

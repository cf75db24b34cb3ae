-- Parts of words are looked for in any script; with the room in the same index. Both extensions are trusted: the
-- database's owner may create them.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;

-- A deleted account keeps its row, without a name: messages and rooms refer to it.
ALTER TABLE account ADD COLUMN deleted_at TIMESTAMPTZ;
-- When nothing is left of it: its rooms are left, its name stands nowhere.
ALTER TABLE account ADD COLUMN erased_at TIMESTAMPTZ;
CREATE INDEX account_deleted_idx ON account (deleted_at) WHERE deleted_at IS NOT NULL AND erased_at IS NULL;

ALTER TABLE session ADD COLUMN used_at TIMESTAMPTZ;
ALTER TABLE session ADD COLUMN user_agent TEXT;
CREATE INDEX session_idle_idx ON session (COALESCE(used_at, created_at));
CREATE INDEX refresh_token_expires_at_idx ON refresh_token (expires_at);

-- Failed guesses of passwords. The key is a hash of what is guessed at and from where.
CREATE TABLE attempt (
    key           BYTEA PRIMARY KEY,
    failures      BIGINT NOT NULL,
    last_at       TIMESTAMPTZ NOT NULL,
    blocked_until TIMESTAMPTZ NOT NULL
);
CREATE INDEX attempt_last_at_idx ON attempt (last_at);

ALTER TABLE room ADD COLUMN password_hash TEXT;
-- Raised whenever a member is removed or changes roles: a ticket with a lower one may be out of date.
ALTER TABLE room ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
-- A deleted room keeps its row, under a name that no room can have, until all that was in it is removed.
ALTER TABLE room ADD COLUMN deleted_at TIMESTAMPTZ;
-- When nothing of it was left but this row, which goes when no token for it can live.
ALTER TABLE room ADD COLUMN emptied_at TIMESTAMPTZ;
-- How many there are: whoever enters is told, and a big room must not be counted each time.
ALTER TABLE room ADD COLUMN members BIGINT NOT NULL DEFAULT 0;
UPDATE room SET members = (SELECT COUNT(*) FROM member WHERE member.room_id = room.id);
-- Name and title as they are looked for.
ALTER TABLE room ADD COLUMN folded TEXT NOT NULL DEFAULT '';
UPDATE room SET folded = LOWER(name || ' ' || COALESCE(title, ''));
CREATE INDEX room_public_name_idx ON room (name) WHERE NOT private AND deleted_at IS NULL;
CREATE INDEX room_deleted_idx ON room (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX room_folded_idx ON room USING gin (folded gin_trgm_ops);

CREATE TABLE ban (
    room_id   UUID NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    user_id   UUID NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    banned_by UUID NOT NULL,
    at        TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX ban_user_id_idx ON ban (user_id, room_id);

-- What the archive writes with every batch stands in narrow tables of its own, so that it never waits for a row that
-- a request changes. They take the place of room.archived_seq and member.read_seq.
CREATE TABLE room_log (
    room_id      UUID PRIMARY KEY REFERENCES room (id) ON DELETE CASCADE,
    -- Every event up to this seq is in the database.
    archived_seq BIGINT NOT NULL,
    -- The oldest event that the stream still holds, once older ones were purged.
    kept_seq     BIGINT NOT NULL DEFAULT 0
);
INSERT INTO room_log (room_id, archived_seq) SELECT id, archived_seq FROM room WHERE archived_seq > 0;
CREATE INDEX room_log_purge_idx ON room_log (kept_seq) WHERE kept_seq < archived_seq;
CREATE TABLE read_mark (
    room_id UUID NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    user_id UUID NOT NULL,
    seq     BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
INSERT INTO read_mark (room_id, user_id, seq) SELECT room_id, user_id, read_seq FROM member WHERE read_seq > 0;
CREATE INDEX read_mark_user_id_idx ON read_mark (user_id);

-- The text as it is looked for, where that is another one.
ALTER TABLE message ADD COLUMN folded TEXT;
ALTER TABLE message ADD COLUMN edited_at TIMESTAMPTZ;
ALTER TABLE message ADD COLUMN deleted_at TIMESTAMPTZ;
-- The event that changed it last; older ones that come late change nothing.
ALTER TABLE message ADD COLUMN changed_seq BIGINT NOT NULL DEFAULT 0;
CREATE INDEX message_author_id_idx ON message (author_id, room_id, seq);
CREATE INDEX message_search_idx ON message USING gin (room_id, (COALESCE(folded, msg)) gin_trgm_ops);

CREATE TABLE reaction (
    room_id UUID NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    -- The message's.
    target  BIGINT NOT NULL,
    emoji   TEXT NOT NULL,
    user_id UUID NOT NULL,
    -- The event's. One that was taken back stays, so that an older event that comes late does not bring it back.
    seq     BIGINT NOT NULL,
    is_on   BOOLEAN NOT NULL,
    PRIMARY KEY (room_id, target, emoji, user_id)
);
CREATE INDEX reaction_user_id_idx ON reaction (user_id, room_id, target, emoji);

CREATE INDEX file_uploader_id_idx ON file (uploader_id, id);
CREATE INDEX outbox_subject_idx ON outbox (subject, id);
CREATE INDEX doomed_object_due_idx ON doomed_object ((COALESCE(due_at, doomed_at)));

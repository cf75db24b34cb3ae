-- The same as migrations/postgres, in SQLite's types: UUIDs are 16 bytes, times RFC 3339 text.
-- Names of constraints and indexes are stable: later migrations refer to them.
-- Expand, then contract: a migration must work with the code before it and the code after it.

CREATE TABLE account (
    id            BLOB PRIMARY KEY,
    name          TEXT NOT NULL CONSTRAINT account_name_key UNIQUE,
    display_name  TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at    TEXT NOT NULL
);

-- One login: the family of its refresh tokens.
CREATE TABLE session (
    id         BLOB PRIMARY KEY,
    user_id    BLOB NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    revoked_at TEXT
);
CREATE INDEX session_user_id_idx ON session (user_id);

CREATE TABLE refresh_token (
    -- SHA-256 of the token: whoever reads the table cannot log in with it.
    hash       BLOB PRIMARY KEY,
    session_id BLOB NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    expires_at TEXT NOT NULL,
    -- Spent tokens stay, so that a second use is noticed.
    used_at    TEXT
);
CREATE INDEX refresh_token_session_id_idx ON refresh_token (session_id);

CREATE TABLE room (
    id           BLOB PRIMARY KEY,
    name         TEXT NOT NULL CONSTRAINT room_name_key UNIQUE,
    title        TEXT,
    private      BOOLEAN NOT NULL,
    creator_id   BLOB NOT NULL REFERENCES account (id),
    created_at   TEXT NOT NULL,
    -- Every event of the room up to this seq has been taken from the stream.
    archived_seq INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX room_creator_id_idx ON room (creator_id);

CREATE TABLE member (
    room_id   BLOB NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    user_id   BLOB NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    role      TEXT NOT NULL CHECK (role IN ('member', 'moderator', 'owner')),
    joined_at TEXT NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX member_user_id_idx ON member (user_id, room_id);

-- The archive of the stream's messages. `seq` is the stream's; so archiving twice changes nothing.
CREATE TABLE message (
    room_id     BLOB NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,
    id          BLOB NOT NULL,
    author_id   BLOB NOT NULL,
    author_name TEXT NOT NULL,
    msg         TEXT NOT NULL,
    -- The file as it was when the message was sent, as JSON.
    file        TEXT,
    reply_to    INTEGER,
    at          TEXT NOT NULL,
    PRIMARY KEY (room_id, seq)
);

CREATE TABLE file (
    id           BLOB PRIMARY KEY,
    room_id      BLOB NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    uploader_id  BLOB NOT NULL,
    name         TEXT NOT NULL,
    size         INTEGER NOT NULL,
    media_type   TEXT NOT NULL,
    sha256       TEXT,
    object_key   TEXT NOT NULL CONSTRAINT file_object_key_key UNIQUE,
    created_at   TEXT NOT NULL,
    completed_at TEXT
);
CREATE INDEX file_room_id_idx ON file (room_id);

-- Objects whose rows are gone; archive removes them from the storage.
CREATE TABLE doomed_object (
    object_key TEXT PRIMARY KEY,
    doomed_at  TEXT NOT NULL
);

-- What is owed to NATS, written with what made it due. The id is the Nats-Msg-Id.
CREATE TABLE outbox (
    id          BLOB PRIMARY KEY,
    subject     TEXT NOT NULL,
    payload     BLOB NOT NULL,
    traceparent TEXT,
    created_at  TEXT NOT NULL
);

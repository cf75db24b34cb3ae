-- Names of constraints and indexes are stable: later migrations refer to them.
-- Expand, then contract: a migration must work with the code before it and the code after it.

CREATE TABLE account (
    id            UUID PRIMARY KEY,
    name          TEXT NOT NULL CONSTRAINT account_name_key UNIQUE,
    display_name  TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL
);

-- One login: the family of its refresh tokens.
CREATE TABLE session (
    id         UUID PRIMARY KEY,
    user_id    UUID NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ
);
CREATE INDEX session_user_id_idx ON session (user_id);

CREATE TABLE refresh_token (
    -- SHA-256 of the token: whoever reads the table cannot log in with it.
    hash       BYTEA PRIMARY KEY,
    session_id UUID NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    expires_at TIMESTAMPTZ NOT NULL,
    -- Spent tokens stay, so that a second use is noticed.
    used_at    TIMESTAMPTZ
);
CREATE INDEX refresh_token_session_id_idx ON refresh_token (session_id);

CREATE TABLE room (
    id           UUID PRIMARY KEY,
    name         TEXT NOT NULL CONSTRAINT room_name_key UNIQUE,
    title        TEXT,
    private      BOOLEAN NOT NULL,
    creator_id   UUID NOT NULL REFERENCES account (id),
    created_at   TIMESTAMPTZ NOT NULL,
    -- Every event of the room up to this seq has been taken from the stream.
    archived_seq BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX room_creator_id_idx ON room (creator_id);

CREATE TABLE member (
    room_id   UUID NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    user_id   UUID NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    role      TEXT NOT NULL CHECK (role IN ('member', 'moderator', 'owner')),
    joined_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX member_user_id_idx ON member (user_id, room_id);

-- The archive of the stream's messages. `seq` is the stream's; so archiving twice changes nothing.
CREATE TABLE message (
    room_id     UUID NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    seq         BIGINT NOT NULL,
    id          UUID NOT NULL,
    author_id   UUID NOT NULL,
    author_name TEXT NOT NULL,
    msg         TEXT NOT NULL,
    -- The file as it was when the message was sent, as JSON.
    file        TEXT,
    reply_to    BIGINT,
    at          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (room_id, seq)
);

CREATE TABLE file (
    id           UUID PRIMARY KEY,
    room_id      UUID NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    uploader_id  UUID NOT NULL,
    name         TEXT NOT NULL,
    size         BIGINT NOT NULL,
    media_type   TEXT NOT NULL,
    sha256       TEXT,
    object_key   TEXT NOT NULL CONSTRAINT file_object_key_key UNIQUE,
    created_at   TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ
);
CREATE INDEX file_room_id_idx ON file (room_id);

-- Objects whose rows are gone; archive removes them from the storage.
CREATE TABLE doomed_object (
    object_key TEXT PRIMARY KEY,
    doomed_at  TIMESTAMPTZ NOT NULL
);

-- What is owed to NATS, written with what made it due. The id is the Nats-Msg-Id.
CREATE TABLE outbox (
    id          UUID PRIMARY KEY,
    subject     TEXT NOT NULL,
    payload     BYTEA NOT NULL,
    traceparent TEXT,
    created_at  TIMESTAMPTZ NOT NULL
);

-- Requests that are limited per hour, such as sign-ups of one client network (functions/src/rate_limit.rs).
CREATE TABLE rate_limit (
    -- A hash of what is limited and for whom: the table says nothing about who comes from where.
    key         BYTEA PRIMARY KEY,
    -- Milliseconds since the Unix epoch: the "theoretical arrival time" of the generic cell rate algorithm. A key whose
    -- time has passed has its whole allowance again.
    allowed_at  BIGINT NOT NULL
);
CREATE INDEX rate_limit_allowed_at_idx ON rate_limit (allowed_at);

-- A spent refresh token and this salt give its successor, so that a lost answer can be given again. Without the token,
-- of which only the hash is stored, the salt is worth nothing.
ALTER TABLE refresh_token ADD COLUMN successor_salt BYTEA;

-- Generates data for the sections `pages` and `filled` of the benchmark and for the story about query plans.
-- {accounts}, {rooms}, {members} and {messages} are replaced by numbers, all at least 1.
--
-- Only columns without a default are set, so that columns can be added. Ids are UUIDv7 that contain a digit for the
-- table and the row number, so that rows can be referred to without a lookup. `room-1` is the biggest room, and so on.

-- Skips foreign key checks and triggers, which the generated rows do not need.
SET session_replication_role = replica;
SET synchronous_commit = off;

CREATE FUNCTION pg_temp.id(tab text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
RETURN (
  lpad(to_hex(1700000000000 + n), 12, '0') || '7' || lpad(tab, 3, '0') || '8000' || lpad(to_hex(n), 12, '0')
)::uuid;
-- A pseudo-random number, uniform in [0, 1) and the same in every run. `salt` gives another one for the same `n`.
CREATE FUNCTION pg_temp.spread(n bigint, salt int) RETURNS float8 LANGUAGE sql IMMUTABLE
RETURN ((hashint8extended(n, salt) >> 11) & 9007199254740991) / 9007199254740992.0;
-- A number in 1..count in which small numbers are more frequent: the first percent of all rooms has a fifth of all
-- messages and members.
CREATE FUNCTION pg_temp.skewed(n bigint, salt int, count int) RETURNS bigint LANGUAGE sql IMMUTABLE
RETURN 1 + floor(count * power(pg_temp.spread(n, salt), 3))::bigint;

INSERT INTO account (id, name, display_name, password_hash, created_at)
SELECT pg_temp.id('a', n), 'user' || n, 'User ' || n, 'none', now() - interval '1 year'
FROM generate_series(1, {accounts}) n;

INSERT INTO session (id, user_id, created_at, revoked_at)
SELECT pg_temp.id('5', n), pg_temp.id('a', 1 + n % {accounts}), now() - n * interval '1 second',
       CASE WHEN n % 3 = 0 THEN now() END
FROM generate_series(1, 2 * {accounts}) n;

INSERT INTO refresh_token (hash, session_id, expires_at, used_at)
SELECT sha256(('t' || n)::bytea), pg_temp.id('5', 1 + n % (2 * {accounts})), now() + interval '30 days',
       CASE WHEN n % 2 = 0 THEN now() END
FROM generate_series(1, 4 * {accounts}) n;

-- Every tenth room is private. All events are archived, so that a page reads only the head sequence from NATS.
INSERT INTO room (id, name, folded_name, title, parts, private, creator_id, created_at)
SELECT pg_temp.id('b', n), 'room-' || n, 'room-' || n, 'About ' || md5(n::text),
       regexp_replace('room-' || n || ' about ' || md5(n::text), '', 'X', 'g'), n % 10 = 0,
       pg_temp.id('a', 1 + n % {accounts}), now() - interval '1 year'
FROM generate_series(1, {rooms}) n;

INSERT INTO room_log (room_id, archived_seq) SELECT id, {messages} FROM room;

-- Owners have read nothing, other members nearly everything.
INSERT INTO member (room_id, user_id, role, joined_at)
SELECT pg_temp.id('b', n), pg_temp.id('a', 1 + n % {accounts}), 'owner', now() - interval '1 year'
FROM generate_series(1, {rooms}) n
UNION ALL
SELECT room, who, 'member', now() - interval '1 year'
FROM (SELECT pg_temp.id('b', pg_temp.skewed(n, 1, {rooms})),
             pg_temp.id('a', 1 + floor({accounts} * pg_temp.spread(n, 2))::bigint)
      FROM generate_series(1, {members}) n) AS pick (room, who)
ON CONFLICT DO NOTHING;
INSERT INTO read_mark (room_id, user_id, seq)
SELECT room_id, user_id, greatest({messages} - 20, 1) FROM member WHERE role = 'member';
UPDATE room SET members = (SELECT COUNT(*) FROM member m WHERE m.room_id = room.id);

-- Every hundredth message has a reaction.
INSERT INTO reaction (room_id, target, emoji, user_id, seq, is_on)
SELECT pg_temp.id('b', pg_temp.skewed(n, 3, {rooms})), n, '👍', pg_temp.id('a', 1 + n % {accounts}), n + 1, true
FROM generate_series(1, {messages}, 100) n;

-- Inserted in the order of their sequence, as `archive` does, so that messages of one room are on different pages.
INSERT INTO message (room_id, seq, id, author_id, author_name, msg, parts, fold_version, at)
SELECT pg_temp.id('b', pg_temp.skewed(n, 3, {rooms})), n, pg_temp.id('e', n), pg_temp.id('a', who), 'User ' || who,
       msg, regexp_replace(msg, '', 'X', 'g'), 1, now() - ({messages} - n) * interval '1 second'
FROM (SELECT n, 1 + floor({accounts} * pg_temp.spread(n, 4))::bigint,
             'message ' || n || ' ' || md5(n::text) ||
               CASE WHEN n % 4 = 0 THEN ' 안녕하세요 반갑습니다' ELSE ' the quick brown fox' END
      FROM generate_series(1, {messages}) n) AS said (n, who, msg);

INSERT INTO file (id, room_id, uploader_id, name, size, media_type, object_key, created_at, completed_at)
SELECT pg_temp.id('f', n), pg_temp.id('b', pg_temp.skewed(n, 5, {rooms})), pg_temp.id('a', 1 + n % {accounts}),
       'file ' || n, 1, 'text/plain', 'key' || n, now() - interval '1 day', CASE WHEN n % 20 > 0 THEN now() END
FROM generate_series(1, {accounts}) n;

RESET session_replication_role;

-- Revocations do not wait behind events: each kind of message in the outbox is swept by an index of its own. A row that
-- the code before this migration writes counts as an event, which is swept too.
ALTER TABLE outbox ADD COLUMN revokes BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE outbox SET revokes = TRUE WHERE subject LIKE '$KV.%';
CREATE INDEX outbox_event_idx ON outbox (subject, id) WHERE NOT revokes;
CREATE INDEX outbox_event_id_idx ON outbox (id) WHERE NOT revokes;
CREATE INDEX outbox_revocation_idx ON outbox (id) WHERE revokes;

-- Who is in a room. A ban stands above a membership, in every statement that asks.
CREATE VIEW active_member AS
SELECT m.room_id, m.user_id, m.role, m.joined_at
FROM member m JOIN room r ON r.id = m.room_id
WHERE r.deleted_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM ban b WHERE b.room_id = m.room_id AND b.user_id = m.user_id);

-- Rows that a join and a ban at the same time have left: both could stay until now.
UPDATE room SET members = members - (
    SELECT COUNT(*) FROM member m JOIN ban b ON b.room_id = m.room_id AND b.user_id = m.user_id WHERE m.room_id = room.id
) WHERE id IN (SELECT m.room_id FROM member m JOIN ban b ON b.room_id = m.room_id AND b.user_id = m.user_id);
DELETE FROM member WHERE EXISTS (
    SELECT 1 FROM ban b WHERE b.room_id = member.room_id AND b.user_id = member.user_id
);

-- Uploads that were never completed are looked for by their age.
CREATE INDEX file_incomplete_idx ON file (created_at) WHERE completed_at IS NULL;
-- Which messages show a file: it goes with the last of them.
ALTER TABLE message ADD COLUMN file_id UUID;
UPDATE message SET file_id = (file::jsonb ->> 'id')::uuid WHERE file IS NOT NULL;
CREATE INDEX message_file_id_idx ON message (file_id) WHERE file_id IS NOT NULL;

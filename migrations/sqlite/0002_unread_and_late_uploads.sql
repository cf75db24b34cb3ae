-- Up to which seq a member has read the room: what is newer is unread.
ALTER TABLE member ADD COLUMN read_seq INTEGER NOT NULL DEFAULT 0;

-- A key that ends in `/` stands for all objects below it: a deleted room's are removed whole, those
-- too whose upload had begun. They are removed at once and, as an upload signed before may still
-- end, once more at this time.
ALTER TABLE doomed_object ADD COLUMN due_at TEXT;

-- Parts of words are found by an index from their first character on: most words of Korean or Chinese have two, and
-- pg_trgm takes three at a time. `parts` is the text as it is looked for with an X around every character
-- (functions/src/fold.rs): three of its characters are one or two of the text.
ALTER TABLE message ADD COLUMN parts TEXT;
UPDATE message SET parts = regexp_replace(COALESCE(folded, msg), '', 'X', 'g') WHERE deleted_at IS NULL;
DROP INDEX message_search_idx;
ALTER TABLE message DROP COLUMN folded;
CREATE INDEX message_parts_idx ON message USING gin (room_id, parts gin_trgm_ops);

UPDATE room SET folded = regexp_replace(folded, '', 'X', 'g');
ALTER TABLE room RENAME COLUMN folded TO parts;
ALTER INDEX room_folded_idx RENAME TO room_parts_idx;

-- The same as migrations/postgres, without the indexes.
ALTER TABLE message ADD COLUMN parts TEXT;
UPDATE message SET parts = 'X' || (
    WITH RECURSIVE place (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM place WHERE n < length(COALESCE(folded, msg)))
    SELECT group_concat(substr(COALESCE(folded, msg), n, 1) || 'X', '') FROM place
) WHERE deleted_at IS NULL AND msg <> '';
ALTER TABLE message DROP COLUMN folded;

UPDATE room SET folded = 'X' || (
    WITH RECURSIVE place (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM place WHERE n < length(folded))
    SELECT group_concat(substr(folded, n, 1) || 'X', '') FROM place
);
ALTER TABLE room RENAME COLUMN folded TO parts;

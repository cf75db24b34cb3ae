SELECT r.id, r.name, r.title, r.private, r.password_hash IS NOT NULL AS has_password,
  r.creator_id, r.created_at, r.version, COALESCE(l.archived_seq, 0) AS archived_seq,
  CASE WHEN m.user_id IS NOT NULL THEN (
    SELECT COUNT(*) FROM (
      SELECT 1 FROM message u
      WHERE u.room_id = r.id AND u.seq > COALESCE(mark.seq, 0)
        AND u.author_id <> $1 AND u.deleted_at IS NULL
      ORDER BY u.seq LIMIT 100
    ) newer
  ) END AS unread,
  newest.seq AS last_seq, newest.id AS last_id, newest.author_id, newest.author_name, newest.msg, newest.at,
  newest.file AS last_file, newest.deleted_at AS last_deleted_at
FROM (
  SELECT r.* FROM active_member own_member JOIN room r ON r.id = own_member.room_id
  WHERE own_member.user_id = $1 AND r.deleted_at IS NULL AND r.name > $2
  ORDER BY r.name LIMIT $3
) r
LEFT JOIN room_log l ON l.room_id = r.id
LEFT JOIN active_member m ON m.room_id = r.id AND m.user_id = $1
LEFT JOIN read_mark mark ON mark.room_id = r.id AND mark.user_id = $1
LEFT JOIN message newest ON newest.room_id = m.room_id
  AND newest.seq = (SELECT MAX(other.seq) FROM message other WHERE other.room_id = m.room_id)
ORDER BY r.name

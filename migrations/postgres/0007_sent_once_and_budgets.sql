-- A message id of one author is stored once in a room, however late it comes again. Rows that were stored twice: the
-- first one stays, with the reactions to it. Building the index keeps `archive` waiting, nobody else: the stream holds
-- what comes meanwhile.
DELETE FROM reaction WHERE (room_id, target) IN (
    SELECT room_id, seq FROM (
        SELECT room_id, seq, ROW_NUMBER() OVER (PARTITION BY room_id, author_id, id ORDER BY seq) AS copy FROM message
    ) numbered WHERE copy > 1
);
DELETE FROM message WHERE (room_id, seq) IN (
    SELECT room_id, seq FROM (
        SELECT room_id, seq, ROW_NUMBER() OVER (PARTITION BY room_id, author_id, id ORDER BY seq) AS copy FROM message
    ) numbered WHERE copy > 1
);
CREATE UNIQUE INDEX message_sent_key ON message (room_id, author_id, id);

-- What users and rooms have used of their publish budgets (protocol/src/budget.rs): the theoretical arrival time of GCRA,
-- in microseconds since the Unix epoch. The key is `user.<id>`, `room.<id>` or `new-rooms.<id>`. Unlogged: to forget it
-- in a crash costs nothing, and charging it then waits for no disk.
CREATE UNLOGGED TABLE publish_budget (
    key        TEXT PRIMARY KEY,
    arrival_us BIGINT NOT NULL
);
CREATE INDEX publish_budget_arrival_us_idx ON publish_budget (arrival_us);

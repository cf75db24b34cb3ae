//! No statement reads more rows as the database grows: the query plans of all statements on a filled database.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use stories::{Database, PlanFault, QueryPlans, System};

use super::api_walk::ApiWalk;

const FILL: &str = include_str!("../../../bench/sql/fill.sql");
/// More members than a page, and more messages and members in `room-1` than a plan may read.
const SIZES: [(&str, &str); 4] = [
    ("{accounts}", "5000"),
    ("{rooms}", "10000"),
    ("{members}", "50000"),
    ("{messages}", "100000"),
];
/// User `$1` is in 300 rooms, owns the biggest one and has read none of them.
const BUSY: &str = "
    INSERT INTO member (room_id, user_id, role, joined_at)
    SELECT id, $1, CASE WHEN name = 'room-1' THEN 'owner' ELSE 'member' END, now() FROM room
    WHERE name IN (SELECT 'room-' || n FROM generate_series(1, 300) n) ON CONFLICT DO NOTHING";
const OWED: &str = "
    INSERT INTO outbox (id, subject, payload, created_at)
    SELECT gen_random_uuid(), '$KV.revoked.session.' || gen_random_uuid(), '', now() - interval '1 hour'
    FROM generate_series(1, 3000)";
const DOOMED: &str = "
    INSERT INTO doomed_object (object_key, doomed_at, due_at)
    SELECT 'gone/' || n, now(), CASE WHEN n > 5 THEN now() + interval '1 hour' END
    FROM generate_series(1, 3000) n";

/// Statements that may read many rows: a part of the statement, the node of its plan, and the reason.
const WHOLE: &[(&str, &str, &str)] = &[
    ("DELETE FROM ONLY \"public\".", "", "what a deleted room or account had goes with it"),
    ("WHERE room_id = $1 ORDER BY seq LIMIT $2)", "", "a deleted room goes in steps of 2,000 rows"),
    ("WHERE room_id = $1 ORDER BY target LIMIT $2)", "", "the same"),
    ("WHERE room_id = $1 LIMIT $2)", "", "the same"),
    ("AS unread", "Index Scan on message", "of each room on the page up to 100 are counted"),
    (
        "FROM active_member own_member JOIN room r",
        "Sort by",
        "the caller's own rooms are put in order",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_reads_more_as_the_database_grows() {
    let system = System::new(Database::Postgres).await;
    let (ada, bob) = (system.user("ada").await, system.user("bob").await);
    let url = system.variables()["DATABASE_URL"].clone();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let fill = SIZES.iter().fold(FILL.to_owned(), |fill, (name, n)| fill.replace(name, n));
    admin.execute(AssertSqlSafe(fill)).await.unwrap();
    for statement in [BUSY, "UPDATE room SET creator_id = $1 WHERE name = 'room-2'"] {
        sqlx::query(statement).bind(ada.id.as_uuid()).execute(&mut admin).await.unwrap();
    }
    for statement in [OWED, DOOMED, "VACUUM ANALYZE"] {
        admin.execute(statement).await.unwrap();
    }
    admin.close().await.unwrap();

    let plans = QueryPlans::watch(&url).await;
    ApiWalk::new(system).await.call_everything(&ada, &bob).await;

    // A statement with a bad plan shows that the check finds one.
    const BAD: &str = "SELECT id FROM message ORDER BY at LIMIT 1";
    plans.run(BAD).await;
    let (statements, mut faults) = plans.faults().await;
    assert!(statements > 30, "only {statements} statements were seen");
    assert!(faults.iter().any(|fault| fault.statement == BAD), "the bad one was not found");
    faults.retain(|fault| fault.statement != BAD);
    faults.retain(|fault| {
        let is =
            |part: &str, node: &str| fault.statement.contains(part) && fault.node.starts_with(node);
        !WHOLE.iter().any(|(part, node, _)| is(part, node))
    });
    assert!(faults.is_empty(), "{}", listed(&faults));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locale_without_letters_is_detected() {
    use store::db::{self, Database as Db};
    let system = System::new(Database::Postgres).await;
    let url = &system.variables()["DATABASE_URL"];
    let (server, name) = url.rsplit_once('/').unwrap();
    let plain = format!("{name}_c");
    let make = format!("CREATE DATABASE {plain} TEMPLATE template0 LC_CTYPE 'C' LC_COLLATE 'C'");
    system.execute(&make).await;
    for (url, knows_letters) in [(url.clone(), true), (format!("{server}/{plain}"), false)] {
        let database = Db::connect(&url).await.unwrap();
        db::migrate(&database).await.unwrap();
        assert_eq!(db::indexes_all_scripts(&database).await.unwrap(), knows_letters, "{url}");
        database.close().await;
    }
}

fn listed(faults: &[PlanFault]) -> String {
    let lines: Vec<String> = faults.iter().map(|fault| format!("\n- {fault}")).collect();
    lines.concat()
}

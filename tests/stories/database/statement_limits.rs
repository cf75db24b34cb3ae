//! Limits that protect the database: a statement has a timeout and ends with its request, and the searches
//! of one user leave connections for others. On PostgreSQL, where a lock keeps a statement running.

use std::time::Duration;

use futures_util::future::join_all;
use protocol::{
    Timestamp,
    stored::{Person, StoredEvent},
};
use serde_json::json;
use stories::{Database, POLL_INTERVAL, System, eventually, stories};

/// A system in which every read of `message` waits until the returned transaction ends.
async fn with_long_statements(
    seconds: &str,
) -> (System, String, sqlx::Transaction<'static, sqlx::Postgres>) {
    let mut system = System::new(Database::Postgres).await;
    system.set_variable("DATABASE_STATEMENT_SECONDS", seconds);
    let base = system.start_functions().await;
    let store::db::Database::Postgres(pool) = system.connect_database().await else {
        unreachable!("it is PostgreSQL")
    };
    let mut held = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE message IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    (system, base, held)
}

async fn waiting(system: &System) -> i64 {
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    system.count(waiting).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_statement_ends_with_a_timeout() {
    let (system, base, held) = Box::pin(with_long_statements("1")).await;
    let ada = system.user("ada").await.at(&base);
    ada.create_room("lobby").await;
    let answer = ada.get("/room/lobby/message").await;
    answer.problem(503, "timeout");
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(waiting(&system).await, 0, "the statement has ended too");
    held.rollback().await.unwrap();
    ada.get("/room/lobby/message").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_ends_with_its_request() {
    let (system, base, held) = Box::pin(with_long_statements("14")).await;
    let ada = system.user("ada").await.at(&base);
    ada.create_room("lobby").await;
    // More requests than the pool has connections, each by a client that disconnects.
    let reads = (0..20).map(|_| {
        let read = ada.get("/room/lobby/message");
        tokio::time::timeout(Duration::from_secs(1), read)
    });
    assert!(join_all(reads).await.iter().all(Result::is_err), "none can be answered");
    let ended = async {
        while waiting(&system).await > 0 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        ada.get("/user").await.ok();
    };
    let ended = tokio::time::timeout(Duration::from_secs(6), ended).await;
    assert!(ended.is_ok(), "long before the 14 seconds of a statement");
    held.rollback().await.unwrap();
    ada.get("/room/lobby/message").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_searches_per_user_are_limited() {
    let (mut system, _, held) = Box::pin(with_long_statements("14")).await;
    system.set_variable("LIMIT_SEARCHES_PER_USER", "2");
    let base = system.start_functions().await;
    let (ada, bob) = (system.user("ada").await.at(&base), system.user("bob").await.at(&base));
    ada.create_room("lobby").await;
    bob.enter("lobby").await;
    let search = "/room/lobby/message/search?q=👍👍";
    let more = async {
        eventually("both searches to run", || async {
            (waiting(&system).await == 2).then_some(())
        })
        .await;
        // Every kind of search counts; other requests do not.
        for path in [search, "/room?query=lob"] {
            let refused = ada.get(path).await;
            refused.problem(429, "too-many-searches");
            assert_eq!(refused.headers["retry-after"], "1");
        }
        ada.get("/user").await.ok();
        let of_bob = async {
            eventually("bob's to run too", || async {
                (waiting(&system).await == 3).then_some(())
            })
            .await;
            held.rollback().await.unwrap();
        };
        tokio::join!(bob.get(search), of_bob).0.ok();
    };
    let (one, other, ()) = tokio::join!(ada.get(search), ada.get(search), more);
    one.ok();
    other.ok();
    ada.get(search).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statement_timeout_has_bounds() {
    for seconds in ["0", "15", "x"] {
        let mut system = System::new(Database::Sqlite).await;
        system.set_variable("DATABASE_STATEMENT_SECONDS", seconds);
        let read = service::env::Env::read(
            |name| system.variables().get(name).cloned(),
            api::Config::from_env,
        );
        let faults = read.err().map(|faults| faults.to_string()).unwrap_or_default();
        assert!(faults.contains("DATABASE_STATEMENT_SECONDS"), "{seconds}: {faults}");
    }
}

stories! {
    async fn many_reactions_hide_no_others(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let (one, other) =
            (ada.post_message("lobby", "one").await, ada.post_message("lobby", "other").await);
        socket
            .ok("react", json!({ "roomId": room, "seq": other, "emoji": "👍", "on": true }))
            .await;
        while system.archive_once().await > 0 {}
        // The rows that a version without a limit could leave.
        let flood = if system.is_postgres() {
            format!(
                "INSERT INTO reaction (room_id, target, emoji, user_id, seq, is_on)
                 SELECT room_id, {one}, 'e' || n, user_id, seq + n, true
                 FROM reaction, generate_series(1, 6000) n"
            )
        } else {
            format!(
                "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 6000)
                 INSERT INTO reaction (room_id, target, emoji, user_id, seq, is_on)
                 SELECT room_id, {one}, char(128512 + n), user_id, seq + n, 1 FROM reaction, s"
            )
        };
        let flood = flood.replace("'e' || n", "chr(128512 + n)");
        assert_eq!(system.execute(&flood).await, 6_000);
        let items = ada.get("/room/lobby/message").await.ok()["items"].clone();
        assert_eq!(items[0]["reactions"].as_array().unwrap().len(), 20);
        assert_eq!(items[1]["reactions"], json!([{ "emoji": "👍", "count": 1, "mine": true }]));
    }

    async fn a_gateway_refuses_too_many_kinds_of_reactions(system: System) {
        let gateways = [system.start_gateway().await, system.start_gateway().await];
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let seq = ada.post_message("lobby", "react to this").await;
        let (mut socket, _) = ada.join(&gateways[0], "lobby").await;
        let (mut elsewhere, _) = bob.join(&gateways[1], "lobby").await;
        let react = |n: u32, on: bool| {
            let emoji = char::from_u32(0x1F600 + n).unwrap().to_string();
            json!({ "roomId": room, "seq": seq, "emoji": emoji, "on": on })
        };
        for n in 0..20 {
            socket.ok("react", react(n, true)).await;
            elsewhere.expect("reaction").await;
        }
        elsewhere.refused("react", react(20, true), "too-many-reactions").await;
        // The sender's gateway learns of them from their delivery, which may take a moment longer.
        let mut n = 20;
        while socket.call("react", react(n, true)).await["error"]["code"] != "too-many-reactions" {
            n += 1;
            assert!(n < 50, "it takes any number");
        }
        elsewhere.ok("react", react(7, true)).await;
        elsewhere.ok("react", react(7, false)).await;
    }

    async fn the_archive_limits_the_kinds_of_reactions(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let seq = ada.post_message("lobby", "react to this").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let emoji = |n: u32| char::from_u32(0x1F600 + n).unwrap().to_string();
        // Appended directly, as by gateways that have not seen the others and cannot refuse.
        let by = Person { id: bob.id, name: "Bob".parse().unwrap() };
        for n in 0..30 {
            let emoji = emoji(n).parse().unwrap();
            let (target, by, at) = (seq.try_into().unwrap(), by.clone(), Timestamp::now());
            system
                .append_event(room, StoredEvent::Reaction { target, emoji, on: true, by, at })
                .await;
            if n == 10 {
                while system.archive_once().await > 0 {}
            }
        }
        let shown =
            || async { ada.get("/room/lobby/message").await.ok()["items"][0]["reactions"].clone() };
        assert_eq!(shown().await.as_array().unwrap().len(), 20, "before they are archived");
        while system.archive_once().await > 0 {}
        assert_eq!(shown().await.as_array().unwrap().len(), 20);
        let kinds = "SELECT COUNT(DISTINCT emoji) FROM reaction";
        assert_eq!(system.count(kinds).await, 20);
        // A reaction with an existing emoji is counted.
        let react = |n| json!({ "roomId": room, "seq": seq, "emoji": emoji(n), "on": true });
        socket.ok("react", react(7)).await;
        assert_eq!(shown().await[7], json!({ "emoji": emoji(7), "count": 2, "mine": true }));
        while system.archive_once().await > 0 {}
        assert_eq!(shown().await[7], json!({ "emoji": emoji(7), "count": 2, "mine": true }));
    }
}

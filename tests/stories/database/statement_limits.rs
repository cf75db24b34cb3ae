//! The database is protected from what is asked of it: a statement has its time, ends with its request,
//! and one user's searches leave room for everybody's requests. Told on PostgreSQL, where a lock keeps a
//! statement going.

use std::time::Duration;

use futures_util::future::join_all;
use protocol::{
    Timestamp,
    stored::{Person, StoredEvent},
};
use serde_json::json;
use stories::{Database, World, eventually, stories};

/// A world in which whatever reads `message` goes on until the lock is given back.
async fn with_long_statements(
    seconds: &str,
) -> (World, String, sqlx::Transaction<'static, sqlx::Postgres>) {
    let mut world = World::new(Database::Postgres).await;
    world.set("DATABASE_STATEMENT_SECONDS", seconds);
    let base = world.functions().await;
    let store::db::Database::Postgres(pool) = world.database().await else {
        unreachable!("it is PostgreSQL")
    };
    let mut held = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE message IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    (world, base, held)
}

async fn waiting(world: &World) -> i64 {
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    world.count(waiting).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_ends_with_an_answer() {
    let (world, base, held) = Box::pin(with_long_statements("1")).await;
    let ada = world.user("ada").await.at(&base);
    ada.create_room("lobby").await;
    let answer = ada.get("/room/lobby/message").await;
    answer.problem(503, "timeout");
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(waiting(&world).await, 0, "the statement has ended too");
    held.rollback().await.unwrap();
    ada.get("/room/lobby/message").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_ends_with_its_request() {
    let (world, base, held) = Box::pin(with_long_statements("14")).await;
    let ada = world.user("ada").await.at(&base);
    ada.create_room("lobby").await;
    // More than the pool has connections, each by a client that hangs up.
    let reads = (0..20).map(|_| {
        let read = ada.get("/room/lobby/message");
        tokio::time::timeout(Duration::from_secs(1), read)
    });
    assert!(join_all(reads).await.iter().all(Result::is_err), "none can be answered");
    let ended = async {
        while waiting(&world).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ada.get("/user").await.ok();
    };
    let ended = tokio::time::timeout(Duration::from_secs(6), ended).await;
    assert!(ended.is_ok(), "long before the 14 seconds of a statement");
    held.rollback().await.unwrap();
    ada.get("/room/lobby/message").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_runs_so_many_searches_at_the_same_time() {
    let (mut world, _, held) = Box::pin(with_long_statements("14")).await;
    world.set("LIMIT_SEARCHES_PER_USER", "2");
    let base = world.functions().await;
    let (ada, bob) = (world.user("ada").await.at(&base), world.user("bob").await.at(&base));
    ada.create_room("lobby").await;
    bob.enter("lobby").await;
    let search = "/room/lobby/message/search?q=👍👍";
    let more = async {
        eventually("both searches to run", || async { (waiting(&world).await == 2).then_some(()) })
            .await;
        // Any other search counts with them; nothing else does.
        for path in [search, "/room?query=lob"] {
            let refused = ada.get(path).await;
            refused.problem(429, "too-many-searches");
            assert_eq!(refused.headers["retry-after"], "1");
        }
        ada.get("/user").await.ok();
        let of_bob = async {
            eventually("bob's to run too", || async { (waiting(&world).await == 3).then_some(()) })
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
async fn a_statement_may_take_a_second_to_fourteen() {
    for seconds in ["0", "15", "x"] {
        let mut world = World::new(Database::Sqlite).await;
        world.set("DATABASE_STATEMENT_SECONDS", seconds);
        let read = service::env::Env::read(
            |name| world.variables().get(name).cloned(),
            api::Config::from_env,
        );
        let faults = read.err().map(|faults| faults.to_string()).unwrap_or_default();
        assert!(faults.contains("DATABASE_STATEMENT_SECONDS"), "{seconds}: {faults}");
    }
}

stories! {
    async fn many_kinds_of_reactions_hide_no_others(world: World) {
        let gateway = world.gateway().await;
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let (one, other) = (ada.say("lobby", "one").await, ada.say("lobby", "other").await);
        socket.ok("react", json!({ "roomId": room, "seq": other, "emoji": "👍", "on": true })).await;
        while world.archive_once().await > 0 {}
        // As a version without a limit has left them.
        let flood = if world.is_postgres() {
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
        assert_eq!(world.sql(&flood).await, 6_000);
        let items = ada.get("/room/lobby/message").await.ok()["items"].clone();
        assert_eq!(items[0]["reactions"].as_array().unwrap().len(), 20);
        assert_eq!(items[1]["reactions"], json!([{ "emoji": "👍", "count": 1, "mine": true }]));
    }

    async fn one_kind_of_reaction_too_many_is_refused_at_the_door(world: World) {
        let gateways = [world.gateway().await, world.gateway().await];
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let seq = ada.say("lobby", "react to this").await;
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
        // The own gateway has delivered them too by then, or does in a moment.
        let mut n = 20;
        while socket.call("react", react(n, true)).await["error"]["code"] != "too-many-reactions" {
            n += 1;
            assert!(n < 50, "it takes any number");
        }
        elsewhere.ok("react", react(7, true)).await;
        elsewhere.ok("react", react(7, false)).await;
    }

    async fn a_message_keeps_so_many_kinds_of_reactions(world: World) {
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let seq = ada.say("lobby", "react to this").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let emoji = |n: u32| char::from_u32(0x1F600 + n).unwrap().to_string();
        // Each by a gateway that has seen no other, so that no door can know.
        let by = Person { id: bob.id, name: "Bob".parse().unwrap() };
        for n in 0..30 {
            let emoji = emoji(n).parse().unwrap();
            let (target, by, at) = (seq.try_into().unwrap(), by.clone(), Timestamp::now());
            world.append(room, StoredEvent::Reaction { target, emoji, on: true, by, at }).await;
            if n == 10 {
                while world.archive_once().await > 0 {}
            }
        }
        let shown = || async { ada.get("/room/lobby/message").await.ok()["items"][0]["reactions"].clone() };
        assert_eq!(shown().await.as_array().unwrap().len(), 20, "before they are archived");
        while world.archive_once().await > 0 {}
        assert_eq!(shown().await.as_array().unwrap().len(), 20);
        let kinds = "SELECT COUNT(DISTINCT emoji) FROM reaction";
        assert_eq!(world.count(kinds).await, 20);
        // Who reacts with one that is there is counted.
        let react = |n| json!({ "roomId": room, "seq": seq, "emoji": emoji(n), "on": true });
        socket.ok("react", react(7)).await;
        assert_eq!(shown().await[7], json!({ "emoji": emoji(7), "count": 2, "mine": true }));
        while world.archive_once().await > 0 {}
        assert_eq!(shown().await[7], json!({ "emoji": emoji(7), "count": 2, "mine": true }));
    }
}

//! Races that a lock of PostgreSQL decides. A test holds the lock until the other side waits for it, so the
//! race happens in every run. SQLite has one writer and no such races.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use serde_json::json;
use stories::{Answer, Database, PASSWORD, System, eventually};

/// A transaction that holds a lock.
async fn hold(
    database: &store::db::Database,
    lock: &'static str,
) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let store::db::Database::Postgres(pool) = database else {
        unreachable!("only PostgreSQL is asked to")
    };
    let mut held = (**pool).begin().await.unwrap();
    sqlx::query(lock).execute(&mut *held).await.unwrap();
    held
}

/// Some if this many connections wait for a lock.
async fn waiting(system: &System, many: i64) -> Option<()> {
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    (system.count(waiting).await == many).then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_waits_for_a_login_and_ends_it() {
    let mut system = System::new(Database::Postgres).await;
    let ada = system.user("ada").await;
    system.set_variable("TRUSTED_PROXY_HOPS", "1");
    let behind_proxy = system.start_functions().await;
    // A login that has written its session and cannot commit, because it waits to write its refresh token.
    let database = system.connect_database().await;
    let held = hold(&database, "LOCK TABLE refresh_token IN EXCLUSIVE MODE").await;
    // From another address: attempts from one address always wait for each other.
    let body = json!({ "name": "ada", "password": PASSWORD });
    let login = system.http.post(format!("{behind_proxy}/login")).json(&body);
    let login = Answer::of(login.header("x-forwarded-for", "203.0.113.66"));
    let change = json!({ "password": "another password", "currentPassword": PASSWORD });
    let (login, changed, ()) = tokio::join!(
        login,
        async {
            eventually("the login to wait", || waiting(&system, 1)).await;
            ada.patch("/user", change).await
        },
        async {
            eventually("the new password to wait too", || waiting(&system, 2)).await;
            held.rollback().await.unwrap();
        }
    );
    assert_eq!((login.status.as_u16(), changed.status.as_u16()), (200, 200));
    let live = "SELECT COUNT(*) FROM session WHERE revoked_at IS NULL";
    assert_eq!(system.count(live).await, 1);
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_does_not_enter_a_room_that_closes() {
    let system = System::new(Database::Postgres).await;
    let (ada, bob) = (system.user("ada").await, system.user("bob").await);
    for room in ["open", "hidden"] {
        ada.create_room(room).await;
    }
    ada.post("/room", json!({ "name": "known", "password": "sesame" })).await.ok();
    let knows = json!({ "password": "sesame" });
    let database = system.connect_database().await;
    let closed = [
        ("open", bob.get("/room/open").boxed(), "password_hash = 'x'", (403, "password-required")),
        ("hidden", bob.get("/room/hidden").boxed(), "private = true", (404, "no-such-room")),
        (
            "known",
            bob.post("/room/known/member", knows).boxed(),
            "password_hash = 'x'",
            (403, "not-a-member"),
        ),
    ];
    for (room, comes_in, close, (status, code)) in closed {
        let mut held = hold(&database, "SELECT 1 FROM room FOR UPDATE").await;
        let close = format!("UPDATE room SET {close} WHERE name = '{room}'");
        let closes = async {
            eventually("bob to wait at the door", || waiting(&system, 1)).await;
            sqlx::query(sqlx::AssertSqlSafe(close)).execute(&mut *held).await.unwrap();
            held.commit().await.unwrap();
        };
        let (answer, ()) = tokio::join!(comes_in, closes);
        answer.problem(status, code);
    }
    let of_bob =
        "SELECT COUNT(*) FROM member m JOIN account a ON a.id = m.user_id WHERE a.name = 'bob'";
    assert_eq!(system.count(of_bob).await, 0);
    assert_eq!(system.count("SELECT COUNT(*) FROM room WHERE members <> 1").await, 0);
    database.close().await;
}

/// Asserts that no member is banned and that the rooms' member counts are right.
async fn is_consistent(system: &System) {
    let both = "SELECT COUNT(*) FROM member m JOIN ban b ON b.room_id = m.room_id AND b.user_id = m.user_id";
    assert_eq!(system.count(both).await, 0, "a member is banned");
    let miscounted = "SELECT COUNT(*) FROM room r
         WHERE r.members <> (SELECT COUNT(*) FROM member m WHERE m.room_id = r.id)";
    assert_eq!(system.count(miscounted).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_does_not_bypass_a_ban() {
    let system = System::new(Database::Postgres).await;
    let (ada, bob) = (system.user("ada").await, system.user("bob").await);
    ada.create_room("lobby").await;
    let database = system.connect_database().await;
    // Bob's insert waits for a row that is never committed. His statement has not seen the ban.
    let row = "INSERT INTO member (room_id, user_id, role, joined_at)
               SELECT r.id, a.id, 'member', now() FROM room r, account a
               WHERE r.name = 'lobby' AND a.name = 'bob'";
    let held = hold(&database, row).await;
    let is_banned = AtomicBool::new(false);
    let ban = async {
        eventually("bob to wait", || waiting(&system, 1)).await;
        let ban = ada.delete(&format!("/room/lobby/member/{}?ban=true", bob.id)).await;
        is_banned.store(true, Ordering::Relaxed);
        ban
    };
    let release = async {
        eventually("the ban to be there, or to wait for bob", || async {
            let waits = waiting(&system, 2).await.is_some();
            (waits || is_banned.load(Ordering::Relaxed)).then_some(())
        })
        .await;
        held.rollback().await.unwrap();
    };
    let (_, ban, ()) = tokio::join!(bob.get("/room/lobby"), ban, release);
    assert_eq!(ban.status, 204);
    is_consistent(&system).await;
    bob.get("/room/lobby").await.problem(403, "banned");
    assert_eq!(bob.get("/room?mine=true").await.ok()["items"], json!([]));
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_does_not_enter_a_deleted_room() {
    let system = System::new(Database::Postgres).await;
    let (ada, bob) = (system.user("ada").await, system.user("bob").await);
    let rooms = [ada.create_room("open").await, ada.create_room("invited").await];
    let database = system.connect_database().await;
    let invite = json!({ "name": "bob" });
    let ways = [
        ("open", bob.get("/room/open").boxed()),
        ("invited", ada.post("/room/invited/member", invite).boxed()),
    ];
    for (room, comes_in) in ways {
        let mut held = hold(&database, "SELECT 1 FROM room FOR UPDATE").await;
        let delete = format!(
            "UPDATE room SET deleted_at = now(), name = '*' || id, title = NULL WHERE name = '{room}'"
        );
        let deletes = async {
            eventually("bob to wait at the door", || waiting(&system, 1)).await;
            sqlx::query(sqlx::AssertSqlSafe(delete)).execute(&mut *held).await.unwrap();
            held.commit().await.unwrap();
        };
        let (answer, ()) = tokio::join!(comes_in, deletes);
        answer.problem(404, "no-such-room");
    }
    is_consistent(&system).await;
    assert_eq!(system.count("SELECT COUNT(*) FROM outbox").await, 0);
    for room in rooms {
        assert_eq!(
            system.count_stored_events(room).await,
            1,
            "that ada came, and nothing after it"
        );
    }
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_moderator_does_not_invite() {
    let system = System::new(Database::Postgres).await;
    let (ada, bob, eve) =
        (system.user("ada").await, system.user("bob").await, system.user("eve").await);
    ada.create_room("lobby").await;
    bob.enter("lobby").await;
    ada.delete(&format!("/room/lobby/member/{}?ban=true", eve.id)).await;
    let of_bob = format!("/room/lobby/member/{}", bob.id);
    ada.patch(&of_bob, json!({ "role": "moderator" })).await.ok();
    let database = system.connect_database().await;
    let mut held = hold(&database, "SELECT 1 FROM room FOR UPDATE").await;
    let demote = async {
        eventually("the invitation to wait", || waiting(&system, 1)).await;
        let demote = "UPDATE member SET role = 'member' WHERE role = 'moderator'";
        sqlx::query(demote).execute(&mut *held).await.unwrap();
        held.commit().await.unwrap();
    };
    let invite = bob.post("/room/lobby/member", json!({ "name": "eve" }));
    let (answer, ()) = tokio::join!(invite, demote);
    answer.problem(403, "not-a-moderator");
    is_consistent(&system).await;
    eve.get("/room/lobby").await.problem(403, "banned");
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_answered_with_retry_after() {
    let system = System::new(Database::Postgres).await;
    let ada = system.user("ada").await;
    let database = system.connect_database().await;
    let mut held = hold(&database, "SELECT 1 FROM session FOR UPDATE").await;
    let crosses = async {
        // The refresh has used its token and waits for its session. Now each waits for the other. The one with
        // the shorter deadlock timeout detects it first and is ended.
        eventually("the refresh to wait", || waiting(&system, 1)).await;
        sqlx::query("SET LOCAL deadlock_timeout = '1min'").execute(&mut *held).await.unwrap();
        sqlx::query("SELECT 1 FROM refresh_token FOR UPDATE").execute(&mut *held).await.unwrap();
        held.rollback().await.unwrap();
    };
    let refresh = || system.post("/login/refresh", json!({ "refreshToken": ada.refresh }));
    let (answer, ()) = tokio::join!(refresh(), crosses);
    answer.problem(503, "unavailable");
    assert_eq!(answer.headers["retry-after"], "1");
    refresh().await.ok();
    database.close().await;
}

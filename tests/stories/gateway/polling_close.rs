//! The end of a session over long polling: the last events come first, and the close in a separate body,
//! because the official client drops the events of a body that also closes the session.

use reqwest::Method;
use serde_json::json;
use stories::{Answer, Database, Gateway, PollingSession, System, User};

async fn system() -> (System, Gateway, User) {
    let mut system = System::new(Database::Sqlite).await;
    system.set_variable("DRAIN_SECONDS", "1");
    let gateway = system.start_gateway().await;
    let ada = system.user("ada").await;
    ada.create_room("lobby").await;
    (system, gateway, ada)
}

/// A session over long polling that has joined the room.
async fn joined(gateway: &Gateway, user: &User) -> PollingSession {
    let session = PollingSession::open(&gateway.base, "/socket.io/").await;
    session.post(format!("40{}", json!({ "token": user.access }))).await;
    session.until("40{\"sid\"").await;
    let join = json!(["join-room", user.join_data("lobby", None).await]);
    session.post(format!("421{join}")).await;
    session.until("431[{\"ok\":true").await;
    session
}

/// All bodies up to the one that closes the session.
async fn bodies(session: &PollingSession) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let (status, body) = session.get().await;
        assert_eq!(status, 200, "{bodies:?}");
        if body.split('\u{1e}').any(|packet| packet == "1") {
            assert_eq!(body, "1", "nothing else is in the body that closes");
            return bodies;
        }
        bodies.push(body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_events_arrive_before_the_close() {
    let (_system, gateway, ada) = system().await;
    let session = joined(&gateway, &ada).await;
    // No poll is open while the events arrive, so all would fit in one body.
    assert_eq!(Answer::of(ada.request(Method::DELETE, "/room/lobby")).await.status, 204);
    ada.post("/logout", json!({})).await.ok();
    let all = bodies(&session).await.concat();
    let (deleted, expired) = (all.find("[\"room-deleted\""), all.find("[\"session-expired\""));
    // The revocation may overtake the room's event. If both arrived, both are delivered.
    assert!(expired.is_some(), "{all}");
    assert!(deleted.is_none_or(|deleted| Some(deleted) < expired), "{all}");
    assert!(all.ends_with("41"), "{all}");
    assert_eq!(session.get().await.0, 400, "the session is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_arrives_before_the_close() {
    let (_system, gateway, ada) = system().await;
    let session = joined(&gateway, &ada).await;
    gateway.drain();
    let all = bodies(&session).await.concat();
    assert!(all.contains("[\"migrate\""), "{all}");
    gateway.drained().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_closes_too_ends_the_session() {
    let (_system, gateway, ada) = system().await;
    let session = joined(&gateway, &ada).await;
    ada.post("/logout", json!({})).await.ok();
    session.until("42[\"session-expired\"").await;
    // The official client sends this when it is disconnected.
    assert_eq!(session.post("1").await.0, 200);
    assert_eq!(session.get().await.0, 400);
}

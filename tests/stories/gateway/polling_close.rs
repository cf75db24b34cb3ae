//! What a session over long-polling is told before it ends: the events first, the close in a body of
//! its own. The official client drops the events of a body that also closes the session.

use reqwest::Method;
use serde_json::json;
use stories::{Answer, Database, Gateway, Polling, User, World};

async fn world() -> (World, Gateway, User) {
    let mut world = World::new(Database::Sqlite).await;
    world.set("DRAIN_SECONDS", "1");
    let gateway = world.gateway().await;
    let ada = world.user("ada").await;
    ada.create_room("lobby").await;
    (world, gateway, ada)
}

/// A session over long-polling that has joined the room.
async fn joined(gateway: &Gateway, user: &User) -> Polling {
    let session = Polling::open(&gateway.base, "/socket.io/").await;
    session.post(format!("40{}", json!({ "token": user.access }))).await;
    session.until("40{\"sid\"").await;
    let join = json!(["join-room", user.join_data("lobby", None).await]);
    session.post(format!("421{join}")).await;
    session.until("431[{\"ok\":true").await;
    session
}

/// All bodies until the one that closes the session, which is the last.
async fn bodies(session: &Polling) -> Vec<String> {
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
async fn the_end_of_a_session_is_heard_before_its_close() {
    let (_world, gateway, ada) = world().await;
    let session = joined(&gateway, &ada).await;
    // Nobody polls while the events come, so that all would be in one body.
    assert_eq!(Answer::of(ada.request(Method::DELETE, "/room/lobby")).await.status, 204);
    ada.post("/logout", json!({})).await.ok();
    let all = bodies(&session).await.concat();
    let (deleted, expired) = (all.find("[\"room-deleted\""), all.find("[\"session-expired\""));
    // A revocation may overtake the room's event; both are heard if both came.
    assert!(expired.is_some(), "{all}");
    assert!(deleted.is_none_or(|deleted| Some(deleted) < expired), "{all}");
    assert!(all.ends_with("41"), "{all}");
    assert_eq!(session.get().await.0, 400, "the session is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_drain_is_heard_before_the_close() {
    let (_world, gateway, ada) = world().await;
    let session = joined(&gateway, &ada).await;
    gateway.drain();
    let all = bodies(&session).await.concat();
    assert!(all.contains("[\"migrate\""), "{all}");
    gateway.drained().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_closes_too_is_gone_at_once() {
    let (_world, gateway, ada) = world().await;
    let session = joined(&gateway, &ada).await;
    ada.post("/logout", json!({})).await.ok();
    session.until("42[\"session-expired\"").await;
    // What the official client sends when it was disconnected.
    assert_eq!(session.post("1").await.0, 200);
    assert_eq!(session.get().await.0, 400);
}

//! A revocation takes effect within a second on every gateway, and on gateways that start later.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stories::{Answer, Closed, Gateway, PASSWORD, Socket, System, User, stories};
use tokio::time::{Instant, timeout_at};

/// The time from the functions' response to the socket's end.
const WITHIN: Duration = Duration::from_secs(1);

/// Sockets of a user, one at each gateway.
async fn connected(user: &User, gateways: &[Gateway]) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for gateway in gateways {
        sockets.push(user.connect(gateway).await);
    }
    sockets
}

/// Sockets of a user in a room, one at each gateway.
async fn joined(user: &User, gateways: &[Gateway], room: &str) -> Vec<Socket> {
    let mut sockets = connected(user, gateways).await;
    for socket in &mut sockets {
        socket.ok("join-room", user.join_data(room, None).await).await;
    }
    sockets
}

/// Asserts, right after the functions' response, that all sockets receive `session-expired` and are closed.
async fn closed_in_time(what: &str, sockets: Vec<Socket>) {
    let deadline = Instant::now() + WITHIN;
    for mut socket in sockets {
        let ended = async {
            let told = socket.expect("session-expired").await;
            (told["code"].clone(), socket.closed().await)
        };
        let ended = timeout_at(deadline, ended).await;
        assert_eq!(ended, Ok((json!("session-revoked"), Closed::Code(1000))), "{what}");
    }
}

/// Asserts, right after the functions' response, that all sockets receive an event and are out of the room.
async fn removed_in_time(what: &str, sockets: &mut [Socket], event: &str, room: &Value) {
    let deadline = Instant::now() + WITHIN;
    for socket in sockets {
        let out = async {
            socket.expect(event).await;
            let message = json!({ "roomId": room, "msg": "still here?" });
            // The event can arrive a moment before the revocation.
            while socket.call("send-msg", message.clone()).await["error"]["code"] != "not-joined" {}
        };
        assert!(timeout_at(deadline, out).await.is_ok(), "{what}: not within {WITHIN:?}");
    }
}

async fn refused_token(what: &str, gateway: &Gateway, user: &User) {
    let refused = Socket::try_connect(&gateway.base, json!({ "token": user.access })).await;
    let code = refused.err().map(|refusal| refusal["data"]["code"].clone());
    assert_eq!(code, Some(json!("session-revoked")), "{what}");
}

stories! {
    async fn an_ended_session_closes_its_sockets_everywhere(system: System) {
        let gateways = [system.start_gateway().await, system.start_gateway().await];
        let ada = system.user("ada").await;
        let mut over = Vec::new();

        let user = system.login("ada").await;
        let sockets = connected(&user, &gateways).await;
        assert_eq!(user.post("/logout", json!({})).await.status, 204);
        closed_in_time("logged out", sockets).await;
        over.push(("logged out", user));

        let user = system.login("ada").await;
        let sockets = connected(&user, &gateways).await;
        let session = system.claims(&user).session;
        assert_eq!(ada.delete(&format!("/user/session/{session}")).await.status, 204);
        closed_in_time("ended by another session", sockets).await;
        over.push(("ended by another session", user));

        // A stolen refresh token: the second use of it ends the session for both users of the token.
        let user = system.login("ada").await;
        let sockets = connected(&user, &gateways).await;
        let refresh = json!({ "refreshToken": user.refresh });
        let next = system.post("/login/refresh", refresh.clone()).await.ok();
        let next = json!({ "refreshToken": next["refreshToken"] });
        system.post("/login/refresh", next).await.ok();
        system.post("/login/refresh", refresh).await.problem(401, "refresh-reused");
        closed_in_time("refreshed twice", sockets).await;
        over.push(("refreshed twice", user));

        let user = system.login("ada").await;
        let sockets = connected(&user, &gateways).await;
        let change = json!({ "password": "a new password", "currentPassword": PASSWORD });
        ada.patch("/user", change).await.ok();
        closed_in_time("a new password", sockets).await;
        over.push(("a new password", user));

        let sockets = connected(&ada, &gateways).await;
        let deleted = ada.delete_with("/user", json!({ "password": "a new password" })).await;
        assert_eq!(deleted.status, 204);
        closed_in_time("a deleted account", sockets).await;
        over.push(("a deleted account", ada));

        let later = system.start_gateway().await;
        for (what, user) in &over {
            for gateway in gateways.iter().chain([&later]) {
                refused_token(what, gateway, user).await;
            }
        }
    }

    async fn an_ended_membership_takes_effect_everywhere(system: System) {
        let gateways = [system.start_gateway().await, system.start_gateway().await];
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let mut over = Vec::new();
        for (room, what, query) in
            [("one", "removed", ""), ("two", "banned", "?ban=true"), ("three", "left", "")]
        {
            let id = json!(ada.create_room(room).await);
            let mut sockets = joined(&bob, &gateways, room).await;
            let ticket = bob.join_data(room, None).await;
            let by = if what == "left" { &bob } else { &ada };
            let path = format!("/room/{room}/member/{}{query}", bob.id);
            assert_eq!(by.delete(&path).await.status, 204, "{what}");
            let event = if what == "left" { "member-left" } else { "member-removed" };
            removed_in_time(what, &mut sockets, event, &id).await;
            over.push((what, ticket, "forbidden", sockets));
        }

        let id = json!(ada.create_room("four").await);
        let mut sockets = joined(&bob, &gateways, "four").await;
        let ticket = bob.join_data("four", None).await;
        assert_eq!(Answer::of(ada.request(Method::DELETE, "/room/four")).await.status, 204);
        removed_in_time("deleted", &mut sockets, "room-deleted", &id).await;
        over.push(("deleted", ticket, "room-deleted", sockets));

        let later = system.start_gateway().await;
        for (what, ticket, code, sockets) in over {
            for mut socket in sockets.into_iter().chain([bob.connect(&later).await]) {
                let refused = socket.call("join-room", ticket.clone()).await;
                assert_eq!(refused["error"]["code"], code, "{what}: {refused}");
            }
        }
    }
}

//! Membership changes have versions: the newest version counts, not the last that arrives.

use protocol::{
    Role, RoomId, Timestamp,
    stored::{Person, StoredEvent},
};
use serde_json::{Value, json};
use stories::{Socket, System, User, eventually, stories};

/// Greater than every version that the functions assign in these tests.
const BASE: u64 = 100;

/// The data of `join-room` with a ticket of a given version.
fn join_data(system: &System, user: &User, room: RoomId, role: Role, version: u64) -> Value {
    let ticket = system.ticket_since(user, room, role, BASE + version);
    json!({ "roomId": room, "userId": user.id, "ticket": ticket })
}

async fn joined(system: &System, base: &str, user: &User, room: RoomId, version: u64) -> Socket {
    let mut socket = Socket::connect(base, &user.access).await;
    socket.ok("join-room", join_data(system, user, room, Role::Member, version)).await;
    socket
}

/// Repeats `room-broadcast` until the outcome is `expected`: `ok` or an error code.
async fn until_broadcast_is(socket: &mut Socket, room: RoomId, expected: &str) {
    let socket = tokio::sync::Mutex::new(socket);
    eventually(expected, || async {
        let notice = json!({ "roomId": room, "msg": "notice" });
        let ack = socket.lock().await.call("room-broadcast", notice).await;
        (ack["error"]["code"].as_str().unwrap_or("ok") == expected).then_some(())
    })
    .await;
}

stories! {
    async fn a_newer_ticket_readmits_a_removed_member(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let mut b = joined(&system, &gateway.base, &bob, room, 1).await;
        system.publish_membership(room, bob.id, BASE + 2, None).await;
        a.expect_where("presence", |data| data["left"][0]["id"] == json!(bob.id)).await;
        b.refused("send-msg", json!({ "roomId": room, "msg": "x" }), "not-joined").await;
        b.refused("join-room", join_data(&system, &bob, room, Role::Member, 1), "forbidden").await;
        b.ok("join-room", join_data(&system, &bob, room, Role::Member, 2)).await;
        // The event of the removal arrives only now, and all bucket entries arrive again.
        let user = Person { id: bob.id, name: "bob".parse().unwrap() };
        let at = Timestamp::now();
        system
            .append_event(room, StoredEvent::MemberRemoved { user, by: ada.id, banned: false, at })
            .await;
        for version in [2, 1] {
            system.publish_membership(room, bob.id, BASE + version, None).await;
        }
        assert_eq!(b.expect("member-removed").await["user"]["id"], json!(bob.id));
        // The barrier: bucket entries arrive in their order, so this later one shows that all arrived.
        system.publish_membership(room, bob.id, BASE + 3, Some(Role::Moderator)).await;
        until_broadcast_is(&mut b, room, "ok").await;
        a.expect("room-broadcast").await;
        b.ok("send-msg", json!({ "roomId": room, "msg": "still here" })).await;
        a.expect_where("receive-msg", |data| data["from"]["id"] == json!(bob.id)).await;
    }

    async fn a_new_role_takes_effect_at_every_gateway(system: System) {
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let mut sockets = [
            joined(&system, &first.base, &bob, room, 1).await,
            joined(&system, &second.base, &bob, room, 1).await,
            // The ticket was issued after the promotion, with another role.
            joined(&system, &second.base, &bob, room, 3).await,
        ];
        system.publish_membership(room, bob.id, BASE + 2, Some(Role::Moderator)).await;
        for socket in &mut sockets[..2] {
            until_broadcast_is(socket, room, "ok").await;
        }
        let notice = json!({ "roomId": room, "msg": "notice" });
        sockets[2].refused("room-broadcast", notice, "forbidden").await;
        let mut later = joined(&system, &first.base, &bob, room, 1).await;
        later.ok("room-broadcast", json!({ "roomId": room, "msg": "with an old ticket" })).await;
        system.publish_membership(room, bob.id, BASE + 4, Some(Role::Member)).await;
        for socket in sockets.iter_mut().chain([&mut later]) {
            until_broadcast_is(socket, room, "forbidden").await;
            socket.ok("send-msg", json!({ "roomId": room, "msg": "a member still" })).await;
        }
    }

    async fn a_later_gateway_knows_removed_members(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let before = system.start_gateway().await;
        let mut b = joined(&system, &before.base, &bob, room, 1).await;
        system.publish_membership(room, bob.id, BASE + 5, None).await;
        // The unpublished rows of the outbox arrive after it.
        system.publish_membership(room, bob.id, BASE + 2, Some(Role::Moderator)).await;
        until_broadcast_is(&mut b, room, "not-joined").await;
        before.drain();
        drop(b);
        before.drained().await;

        let after = system.start_gateway().await;
        let mut b = bob.connect(&after).await;
        for old in [1, 2, 4] {
            b.refused("join-room", join_data(&system, &bob, room, Role::Member, old), "forbidden")
                .await;
        }
        b.ok("join-room", join_data(&system, &bob, room, Role::Member, 5)).await;
        let notice = json!({ "roomId": room, "msg": "a member" });
        b.refused("room-broadcast", notice, "forbidden").await;
    }

    async fn the_release_step_migrates_an_older_bucket(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let admin = async_nats::jetstream::new(system.nats_as("provision").await);
        let mut older = admin.get_stream("KV_revoked").await.unwrap().cached_info().config.clone();
        older.max_messages_per_subject = 1;
        admin.update_stream(older).await.unwrap();
        system.publish_membership(room, bob.id, BASE + 2, None).await;
        system.provision().await;
        system.publish_membership(room, bob.id, BASE + 1, Some(Role::Owner)).await;
        let gateway = system.start_gateway().await;
        let mut b = bob.connect(&gateway).await;
        b.refused("join-room", join_data(&system, &bob, room, Role::Member, 1), "forbidden").await;
    }
}

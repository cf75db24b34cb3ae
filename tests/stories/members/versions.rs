//! Removed, invited again, promoted, demoted: what holds is the newest version, not the last to come.

use protocol::{
    Role, RoomId, Timestamp,
    stored::{Person, StoredEvent},
};
use serde_json::{Value, json};
use stories::{Socket, User, World, eventually, stories};

/// Above every version that the functions give out in these stories.
const BASE: u64 = 100;

/// What `join-room` needs, with a ticket of a version.
fn join_data(world: &World, user: &User, room: RoomId, role: Role, version: u64) -> Value {
    let ticket = world.ticket_since(user, room, role, BASE + version);
    json!({ "roomId": room, "userId": user.id, "ticket": ticket })
}

async fn joined(world: &World, base: &str, user: &User, room: RoomId, version: u64) -> Socket {
    let mut socket = Socket::connect(base, &user.access).await;
    socket.ok("join-room", join_data(world, user, room, Role::Member, version)).await;
    socket
}

/// Until the socket is answered so: `ok`, or the code of a refusal.
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
    async fn who_was_removed_comes_back_with_a_newer_ticket_and_stays(world: World) {
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let mut b = joined(&world, &gateway.base, &bob, room, 1).await;
        world.change_member(room, bob.id, BASE + 2, None).await;
        a.expect_where("presence", |data| data["left"][0]["id"] == json!(bob.id)).await;
        b.refused("send-msg", json!({ "roomId": room, "msg": "x" }), "not-joined").await;
        b.refused("join-room", join_data(&world, &bob, room, Role::Member, 1), "forbidden").await;
        b.ok("join-room", join_data(&world, &bob, room, Role::Member, 2)).await;
        // The event that says so comes only now, and all entries come again, late.
        let user = Person { id: bob.id, name: "bob".parse().unwrap() };
        let at = Timestamp::now();
        world.append(room, StoredEvent::MemberRemoved { user, by: ada.id, banned: false, at }).await;
        for version in [2, 1] {
            world.change_member(room, bob.id, BASE + version, None).await;
        }
        assert_eq!(b.expect("member-removed").await["user"]["id"], json!(bob.id));
        // The bucket's entries are heard in their order: the one after them says that they were.
        world.change_member(room, bob.id, BASE + 3, Some(Role::Moderator)).await;
        until_broadcast_is(&mut b, room, "ok").await;
        a.expect("room-broadcast").await;
        b.ok("send-msg", json!({ "roomId": room, "msg": "still here" })).await;
        a.expect_where("receive-msg", |data| data["from"]["id"] == json!(bob.id)).await;
    }

    async fn a_new_role_counts_at_once_wherever_its_user_is(world: World) {
        let (first, second) = (world.gateway().await, world.gateway().await);
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let mut sockets = [
            joined(&world, &first.base, &bob, room, 1).await,
            joined(&world, &second.base, &bob, room, 1).await,
            // Their ticket is of after the promotion, and of another role than it gave.
            joined(&world, &second.base, &bob, room, 3).await,
        ];
        world.change_member(room, bob.id, BASE + 2, Some(Role::Moderator)).await;
        for socket in &mut sockets[..2] {
            until_broadcast_is(socket, room, "ok").await;
        }
        let notice = json!({ "roomId": room, "msg": "notice" });
        sockets[2].refused("room-broadcast", notice, "forbidden").await;
        let mut later = joined(&world, &first.base, &bob, room, 1).await;
        later.ok("room-broadcast", json!({ "roomId": room, "msg": "with an old ticket" })).await;
        world.change_member(room, bob.id, BASE + 4, Some(Role::Member)).await;
        for socket in sockets.iter_mut().chain([&mut later]) {
            until_broadcast_is(socket, room, "forbidden").await;
            socket.ok("send-msg", json!({ "roomId": room, "msg": "a member still" })).await;
        }
    }

    async fn a_gateway_that_starts_later_knows_who_was_removed(world: World) {
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let before = world.gateway().await;
        let mut b = joined(&world, &before.base, &bob, room, 1).await;
        world.change_member(room, bob.id, BASE + 5, None).await;
        // What the outbox still owed comes after it.
        world.change_member(room, bob.id, BASE + 2, Some(Role::Moderator)).await;
        until_broadcast_is(&mut b, room, "not-joined").await;
        before.drain();
        drop(b);
        before.drained().await;

        let after = world.gateway().await;
        let mut b = bob.connect(&after).await;
        for old in [1, 2, 4] {
            b.refused("join-room", join_data(&world, &bob, room, Role::Member, old), "forbidden").await;
        }
        b.ok("join-room", join_data(&world, &bob, room, Role::Member, 5)).await;
        let notice = json!({ "roomId": room, "msg": "a member" });
        b.refused("room-broadcast", notice, "forbidden").await;
    }

    async fn a_release_brings_the_bucket_of_an_older_one_along(world: World) {
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let admin = async_nats::jetstream::new(world.nats_as("provision").await);
        let mut older = admin.get_stream("KV_revoked").await.unwrap().cached_info().config.clone();
        older.max_messages_per_subject = 1;
        admin.update_stream(older).await.unwrap();
        world.change_member(room, bob.id, BASE + 2, None).await;
        world.provision().await;
        world.change_member(room, bob.id, BASE + 1, Some(Role::Owner)).await;
        let gateway = world.gateway().await;
        let mut b = bob.connect(&gateway).await;
        b.refused("join-room", join_data(&world, &bob, room, Role::Member, 1), "forbidden").await;
    }
}

//! A gateway that was cut off from NATS for a while: what it missed is delivered, or everybody is told.

use std::time::Duration;

use async_nats::jetstream;
use protocol::{
    Timestamp,
    stored::{Person, StoredEvent},
    subject::{self, Shards},
};
use serde_json::{Value, json};
use stories::{Gateway, Link, Socket, World, stories};
use tokio::time::Instant;

/// A gateway behind a link to NATS.
async fn behind_a_link(world: &mut World) -> (Gateway, Link) {
    let link = Link::to(world.nats.port()).await;
    world.set("NATS_URL", &format!("nats://{}", link.address));
    let gateway = world.gateway().await;
    let direct = world.nats.url();
    world.set("NATS_URL", &direct);
    (gateway, link)
}

/// As if all of its entries had expired, or NATS had lost its data.
async fn empty_the_bucket(world: &World) {
    let admin = jetstream::new(world.nats_as("provision").await);
    admin.delete_stream(subject::bucket_stream(subject::REVOKED_BUCKET)).await.unwrap();
    world.provision().await;
}

fn seqs(page: &Value) -> Vec<u64> {
    page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
}

stories! {
    async fn what_was_missed_follows_in_order(world: World) {
        let mut world = world;
        let (gateway, link) = behind_a_link(&mut world).await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        ada.create_room("lobby").await;
        let (mut socket, joined) = bob.join(&gateway, "lobby").await;
        link.cut().await;
        let mut prev = joined["head"].as_u64().unwrap();
        let mut missed = Vec::new();
        for n in 0..3 {
            missed.push(ada.say("lobby", &n.to_string()).await);
        }
        link.mend();
        for seq in missed {
            let event = socket.expect("receive-msg").await;
            assert_eq!((&event["seq"], &event["prev"]), (&json!(seq), &json!(prev)));
            prev = seq;
        }
    }

    async fn what_the_stream_no_longer_has_is_not_passed_over_in_silence(world: World) {
        let mut world = world;
        world.set("REPLAY_WINDOW_SECONDS", "0");
        let (gateway, link) = behind_a_link(&mut world).await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        // On both of its threads.
        let mut sockets: Vec<Socket> = Vec::new();
        for _ in 0..4 {
            sockets.push(bob.join(&gateway, "lobby").await.0);
        }
        let seen = ada.say("lobby", "seen").await;
        for socket in &mut sockets {
            socket.expect("receive-msg").await;
        }

        link.cut().await;
        let mut missed = Vec::new();
        for n in 0..5 {
            missed.push(ada.say("lobby", &n.to_string()).await);
        }
        // The archive moves and purges all but the newest event.
        while world.archive_once().await > 0 {}
        assert_eq!(world.events_in_stream(room).await, 1);
        link.mend();

        for socket in &mut sockets {
            assert_eq!(socket.expect("lag").await, json!({ "roomId": room, "last": seen }));
            assert_eq!(socket.stored(), [], "nothing came as if nothing were missing");
            socket.refused("typing", json!({ "roomId": room, "on": true }), "not-joined").await;
            let joined = socket.ok("join-room", bob.join_data("lobby", Some(seen)).await).await;
            assert_eq!(
                (&joined["recovered"], &joined["head"]),
                (&json!(false), &json!(missed.last())),
            );
        }
        let page = bob.get(&format!("/room/lobby/message?after={seen}")).await.ok();
        assert_eq!(seqs(&page), missed);
        // From there on it goes on as ever, for each of them once.
        let next = ada.say("lobby", "next").await;
        for socket in &mut sockets {
            let event = socket.expect("receive-msg").await;
            assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(missed.last())));
            assert_eq!(socket.stored(), []);
        }
    }

    async fn nothing_of_a_room_comes_after_its_end(world: World) {
        let mut world = world;
        let (gateway, link) = behind_a_link(&mut world).await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        for is_removed in [false, true] {
            let room = ada.create_room("lobby").await;
            let (mut socket, _) = bob.join(&gateway, "lobby").await;
            link.cut().await;
            assert_eq!(ada.delete("/room/lobby").await.status, 204);
            // A send that was on its way.
            let from = Person { id: ada.id, name: "Ada".parse().unwrap() };
            let (msg, at) = ("too late".parse().unwrap(), Timestamp::now());
            world.append(room, StoredEvent::RoomBroadcast { from, msg, at }).await;
            if is_removed {
                while world.archive_once().await > 0 {}
                assert_eq!(world.events_in_stream(room).await, 2, "the end, and what came late");
            }
            link.mend();
            assert_eq!(socket.expect("room-deleted").await["roomId"], json!(room));
            let typing = json!({ "roomId": room, "on": true });
            socket.refused("typing", typing, "not-joined").await;
            assert_eq!(socket.stored(), [], "nothing after it");
        }
    }

    async fn a_room_that_was_deleted_meanwhile_is_closed(world: World) {
        let mut world = world;
        world.set("REPLAY_WINDOW_SECONDS", "0");
        let (gateway, link) = behind_a_link(&mut world).await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        link.cut().await;
        ada.say("lobby", "unseen").await;
        ada.say("lobby", "archived").await;
        while world.archive_once().await > 0 {}
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
        link.mend();
        assert_eq!(socket.expect("room-deleted").await["roomId"], json!(room));
        socket.refused("typing", json!({ "roomId": room, "on": true }), "not-joined").await;
    }

    async fn who_was_removed_unseen_must_prove_again_that_they_may_stay(world: World) {
        let mut world = world;
        world.set("REVOCATIONS_UNSEEN_SECONDS", "1");
        let (gateway, link) = behind_a_link(&mut world).await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut b, _) = bob.join(&gateway, "lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        link.cut().await;
        let cut = Instant::now();
        assert_eq!(ada.delete(&format!("/room/lobby/member/{}?ban=true", bob.id)).await.status, 204);
        // The link stays cut for longer than the bucket keeps what it holds.
        empty_the_bucket(&world).await;
        tokio::time::sleep_until(cut + Duration::from_secs(2)).await;
        link.mend();

        for socket in [&mut a, &mut b] {
            assert_eq!(socket.expect("lag").await["roomId"], json!(room));
            socket.refused("send-msg", json!({ "roomId": room, "msg": "x" }), "not-joined").await;
        }
        bob.get("/room/lobby").await.problem(403, "banned");
        a.ok("join-room", ada.join_data("lobby", None).await).await;
        a.ok("send-msg", json!({ "roomId": room, "msg": "a member still" })).await;
        assert!(!b.stored().iter().any(|(name, ..)| name == "receive-msg"));
    }

    async fn a_lost_bucket_of_revocations_has_everybody_connect_again(world: World) {
        let mut world = world;
        let (gateway, link) = behind_a_link(&mut world).await;
        let (ada, bob, eve) = (world.user("ada").await, world.user("bob").await, world.user("eve").await);
        ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let mut b = bob.connect(&gateway).await;
        // The gateway has heard of this one, so it knows that the bucket held it.
        let mut e = eve.connect(&gateway).await;
        assert_eq!(eve.post("/logout", json!({})).await.status, 204);
        e.expect("session-expired").await;
        link.cut().await;
        assert_eq!(bob.post("/logout", json!({})).await.status, 204);
        empty_the_bucket(&world).await;
        link.mend();
        for socket in [&mut a, &mut b] {
            assert_eq!(socket.expect("session-expired").await["code"], "token-expired");
        }
        world.ready(gateway.base.trim_start_matches("http://")).await;
        let refresh = json!({ "refreshToken": bob.refresh });
        assert_eq!(world.post("/login/refresh", refresh).await.status, 401);
        ada.join(&gateway, "lobby").await;
    }

    async fn a_deleted_room_is_left_also_without_its_last_event(world: World) {
        let mut world = world;
        let (gateway, link) = behind_a_link(&mut world).await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, joined) = bob.join(&gateway, "lobby").await;
        let ticket = bob.join_data("lobby", None).await;
        link.cut().await;
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
        let stream = jetstream::new(world.nats_as("provision").await).get_stream("CHAT_0").await;
        let of_room = subject::stored(Shards::new(1).unwrap(), room);
        assert!(stream.unwrap().purge().filter(of_room).await.unwrap().purged > 0);
        link.mend();
        let lag = socket.expect("lag").await;
        assert_eq!(lag, json!({ "roomId": room, "last": joined["head"] }));
        socket.refused("send-msg", json!({ "roomId": room, "msg": "x" }), "not-joined").await;
        socket.refused("join-room", ticket, "room-deleted").await;
    }
}

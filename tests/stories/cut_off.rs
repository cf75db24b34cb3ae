//! A gateway that was cut off from NATS for a while: what it missed is delivered, or everybody is told.

use serde_json::{Value, json};
use stories::{Gateway, Link, Socket, World, stories};

/// A gateway behind a link to NATS.
async fn behind_a_link(world: &mut World) -> (Gateway, Link) {
    let link = Link::to(world.nats.port()).await;
    world.set("NATS_URL", &format!("nats://{}", link.address));
    let gateway = world.gateway().await;
    let direct = world.nats.url();
    world.set("NATS_URL", &direct);
    (gateway, link)
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
}

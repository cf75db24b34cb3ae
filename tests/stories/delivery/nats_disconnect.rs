//! A gateway loses its connection to NATS for a while: it delivers the events that it missed, or reports `lag`.

use std::time::Duration;

use async_nats::jetstream;
use protocol::{
    Timestamp,
    stored::{Person, StoredEvent},
    subject::{self, Shards},
};
use serde_json::{Value, json};
use stories::{Gateway, Socket, System, TcpProxy, stories};
use tokio::time::Instant;

/// A gateway with a proxy between it and NATS.
async fn gateway_behind_proxy(system: &mut System) -> (Gateway, TcpProxy) {
    let proxy = TcpProxy::to(system.nats.port()).await;
    system.set_variable("NATS_URL", &format!("nats://{}", proxy.address));
    let gateway = system.start_gateway().await;
    let direct = system.nats.url();
    system.set_variable("NATS_URL", &direct);
    (gateway, proxy)
}

/// Empties the bucket, as when its entries expire or NATS loses its data.
async fn empty_the_bucket(system: &System) {
    let admin = jetstream::new(system.nats_as("provision").await);
    admin.delete_stream(subject::bucket_stream(subject::REVOKED_BUCKET)).await.unwrap();
    system.provision().await;
}

fn seqs(page: &Value) -> Vec<u64> {
    page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
}

stories! {
    async fn missed_events_are_delivered_in_order(system: System) {
        let mut system = system;
        let (gateway, proxy) = gateway_behind_proxy(&mut system).await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        let (mut socket, joined) = bob.join(&gateway, "lobby").await;
        proxy.disconnect().await;
        let mut prev = joined["head"].as_u64().unwrap();
        let mut missed = Vec::new();
        for n in 0..3 {
            missed.push(ada.post_message("lobby", &n.to_string()).await);
        }
        proxy.reconnect();
        for seq in missed {
            let event = socket.expect("receive-msg").await;
            assert_eq!((&event["seq"], &event["prev"]), (&json!(seq), &json!(prev)));
            prev = seq;
        }
    }

    async fn purged_events_are_reported_as_lag(system: System) {
        let mut system = system;
        system.set_variable("REPLAY_WINDOW_SECONDS", "0");
        let (gateway, proxy) = gateway_behind_proxy(&mut system).await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        // Sockets on both threads of the gateway.
        let mut sockets: Vec<Socket> = Vec::new();
        for _ in 0..4 {
            sockets.push(bob.join(&gateway, "lobby").await.0);
        }
        let seen = ada.post_message("lobby", "seen").await;
        for socket in &mut sockets {
            socket.expect("receive-msg").await;
        }

        proxy.disconnect().await;
        let mut missed = Vec::new();
        for n in 0..5 {
            missed.push(ada.post_message("lobby", &n.to_string()).await);
        }
        // The archive moves and purges all events but the newest.
        while system.archive_once().await > 0 {}
        assert_eq!(system.count_stored_events(room).await, 1);
        proxy.reconnect();

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
        // From here on every socket receives each event once.
        let next = ada.post_message("lobby", "next").await;
        for socket in &mut sockets {
            let event = socket.expect("receive-msg").await;
            assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(missed.last())));
            assert_eq!(socket.stored(), []);
        }
    }

    async fn no_event_follows_the_end_of_a_room(system: System) {
        let mut system = system;
        let (gateway, proxy) = gateway_behind_proxy(&mut system).await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        for is_removed in [false, true] {
            let room = ada.create_room("lobby").await;
            let (mut socket, _) = bob.join(&gateway, "lobby").await;
            proxy.disconnect().await;
            assert_eq!(ada.delete("/room/lobby").await.status, 204);
            // A message that is being sent.
            let from = Person { id: ada.id, name: "Ada".parse().unwrap() };
            let (msg, at) = ("too late".parse().unwrap(), Timestamp::now());
            system.append_event(room, StoredEvent::RoomBroadcast { from, msg, at }).await;
            if is_removed {
                while system.archive_once().await > 0 {}
                assert_eq!(
                    system.count_stored_events(room).await,
                    2,
                    "the end, and what came late"
                );
            }
            proxy.reconnect();
            assert_eq!(socket.expect("room-deleted").await["roomId"], json!(room));
            let typing = json!({ "roomId": room, "on": true });
            socket.refused("typing", typing, "not-joined").await;
            assert_eq!(socket.stored(), [], "nothing after it");
        }
    }

    async fn a_room_deleted_during_the_outage_is_closed(system: System) {
        let mut system = system;
        system.set_variable("REPLAY_WINDOW_SECONDS", "0");
        let (gateway, proxy) = gateway_behind_proxy(&mut system).await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        proxy.disconnect().await;
        ada.post_message("lobby", "unseen").await;
        ada.post_message("lobby", "archived").await;
        while system.archive_once().await > 0 {}
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
        proxy.reconnect();
        assert_eq!(socket.expect("room-deleted").await["roomId"], json!(room));
        socket.refused("typing", json!({ "roomId": room, "on": true }), "not-joined").await;
    }

    async fn members_removed_during_the_outage_must_join_again(system: System) {
        let mut system = system;
        system.set_variable("REVOCATIONS_UNSEEN_SECONDS", "1");
        let (gateway, proxy) = gateway_behind_proxy(&mut system).await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut b, _) = bob.join(&gateway, "lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        proxy.disconnect().await;
        let cut = Instant::now();
        assert_eq!(
            ada.delete(&format!("/room/lobby/member/{}?ban=true", bob.id)).await.status,
            204
        );
        // The outage lasts longer than the bucket keeps its entries.
        empty_the_bucket(&system).await;
        tokio::time::sleep_until(cut + Duration::from_secs(2)).await;
        proxy.reconnect();

        for socket in [&mut a, &mut b] {
            assert_eq!(socket.expect("lag").await["roomId"], json!(room));
            socket.refused("send-msg", json!({ "roomId": room, "msg": "x" }), "not-joined").await;
        }
        bob.get("/room/lobby").await.problem(403, "banned");
        a.ok("join-room", ada.join_data("lobby", None).await).await;
        a.ok("send-msg", json!({ "roomId": room, "msg": "a member still" })).await;
        assert!(!b.stored().iter().any(|(name, ..)| name == "receive-msg"));
    }

    async fn a_lost_revocation_bucket_disconnects_all_sockets(system: System) {
        let mut system = system;
        let (gateway, proxy) = gateway_behind_proxy(&mut system).await;
        let (ada, bob, eve) =
            (system.user("ada").await, system.user("bob").await, system.user("eve").await);
        ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let mut b = bob.connect(&gateway).await;
        // The gateway has received this revocation, so it notices that the bucket lost it.
        let mut e = eve.connect(&gateway).await;
        assert_eq!(eve.post("/logout", json!({})).await.status, 204);
        e.expect("session-expired").await;
        proxy.disconnect().await;
        assert_eq!(bob.post("/logout", json!({})).await.status, 204);
        empty_the_bucket(&system).await;
        proxy.reconnect();
        for socket in [&mut a, &mut b] {
            assert_eq!(socket.expect("session-expired").await["code"], "token-expired");
        }
        system.wait_until_ready(&gateway.base).await;
        let refresh = json!({ "refreshToken": bob.refresh });
        assert_eq!(system.post("/login/refresh", refresh).await.status, 401);
        ada.join(&gateway, "lobby").await;
    }

    async fn a_deleted_room_is_left_without_its_last_event(system: System) {
        let mut system = system;
        let (gateway, proxy) = gateway_behind_proxy(&mut system).await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, joined) = bob.join(&gateway, "lobby").await;
        let ticket = bob.join_data("lobby", None).await;
        proxy.disconnect().await;
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
        let stream = jetstream::new(system.nats_as("provision").await).get_stream("CHAT_0").await;
        let of_room = subject::stored(Shards::new(1).unwrap(), room);
        assert!(stream.unwrap().purge().filter(of_room).await.unwrap().purged > 0);
        proxy.reconnect();
        let lag = socket.expect("lag").await;
        assert_eq!(lag, json!({ "roomId": room, "last": joined["head"] }));
        socket.refused("send-msg", json!({ "roomId": room, "msg": "x" }), "not-joined").await;
        socket.refused("join-room", ticket, "room-deleted").await;
    }
}

//! Several gateways act as one: for messages, retries and deployments.

use serde_json::json;
use stories::{Closed, System, stories};

stories! {
    async fn messages_pass_between_gateways(system: System) {
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&first, "lobby").await;
        let (mut b, _) = bob.join(&second, "lobby").await;
        let sent = a.ok("send-msg", json!({ "roomId": room, "msg": "over there" })).await;
        let received = b.expect("receive-msg").await;
        assert_eq!((&received["seq"], &received["msg"]), (&sent["seq"], &json!("over there")));
        let back = b.ok("send-msg", json!({ "roomId": room, "msg": "and back" })).await;
        let received = a.expect_where("receive-msg", |data| data["msg"] == "and back").await;
        assert_eq!((&received["seq"], &received["prev"]), (&back["seq"], &sent["seq"]));
    }

    async fn a_retry_over_any_transport_is_stored_once(system: System) {
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&first, "lobby").await;
        let (mut again, _) = ada.join(&second, "lobby").await;
        let (mut b, _) = bob.join(&second, "lobby").await;
        let id = uuid::Uuid::now_v7();
        let message = json!({ "roomId": room, "msg": "once", "id": id });
        let sent = a.ok("send-msg", message.clone()).await;
        assert_eq!(sent["duplicate"], false);
        let retried = again.ok("send-msg", message.clone()).await;
        let by_http =
            ada.post("/room/lobby/message", json!({ "id": id, "msg": "once" })).await.ok();
        for answer in [retried, by_http] {
            assert_eq!(
                (&answer["seq"], &answer["at"], &answer["duplicate"]),
                (&sent["seq"], &sent["at"], &json!(true))
            );
        }
        // A message of another user with the same id is another message.
        let other = b.ok("send-msg", message).await;
        assert_eq!(other["duplicate"], false);
        assert_ne!(other["seq"], sent["seq"]);
        let next = b.expect_where("receive-msg", |data| data["from"]["id"] == json!(bob.id)).await;
        assert_eq!(next["prev"], sent["seq"], "the retries left nothing between");
    }

    async fn a_draining_gateway_migrates_its_sockets_without_loss(system: System) {
        let (old, new) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&new, "lobby").await;
        let (mut b, _) = bob.join(&old, "lobby").await;
        let seen =
            a.ok("send-msg", json!({ "roomId": room, "msg": "1" })).await["seq"].as_u64().unwrap();
        b.expect("receive-msg").await;
        old.drain();
        let migrate = b.expect("migrate").await;
        assert!(migrate["deadline"].is_string());
        let ready = system.http.get(format!("{}/readyz", old.base)).send().await.unwrap();
        assert_eq!(ready.status(), 503);
        a.ok("send-msg", json!({ "roomId": room, "msg": "2" })).await;
        let mut moved = bob.connect(&new).await;
        moved.ok("join-room", bob.join_data("lobby", Some(seen)).await).await;
        a.ok("send-msg", json!({ "roomId": room, "msg": "3" })).await;
        let mut last = seen;
        for text in ["2", "3"] {
            let event = moved.expect("receive-msg").await;
            assert_eq!((&event["msg"], &event["prev"]), (&json!(text), &json!(last)));
            last = event["seq"].as_u64().unwrap();
        }
        // A socket that does not move is closed at the deadline, and the gateway ends.
        assert_eq!(b.closed().await, Closed::Code(1001));
        drop(b);
        tokio::time::timeout(stories::DEADLINE, old.drained()).await.unwrap();
    }

    async fn a_restarted_nats_server_loses_nothing(system: System) {
        let mut system = system;
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (mut b, _) = bob.join(&gateway, "lobby").await;
        let before = a.ok("send-msg", json!({ "roomId": room, "msg": "before" })).await;
        system.restart_nats();
        // An unacknowledged message is retried with the same id.
        let id = uuid::Uuid::now_v7();
        let message = json!({ "roomId": room, "msg": "after", "id": id });
        let mut after = a.call("send-msg", message.clone()).await;
        while after["ok"] == false {
            assert_eq!(after["error"]["code"], "unavailable");
            after = a.call("send-msg", message.clone()).await;
        }
        let event = b.expect_where("receive-msg", |data| data["msg"] == "after").await;
        assert_eq!((&event["seq"], &event["prev"]), (&after["seq"], &before["seq"]));
    }
}

//! Messages between users in one room: delivery, order and replay.

use serde_json::json;
use stories::{Socket, System, stories};

stories! {
    async fn two_people_chat_both_ways(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (mut b, joined) = bob.join(&gateway, "lobby").await;
        assert_eq!((&joined["recovered"], &joined["online"]["count"]), (&json!(true), &json!(2)));
        let sent = a.ok("send-msg", json!({ "roomId": room, "msg": "안녕 👋" })).await;
        let received = b.expect("receive-msg").await;
        for field in ["seq", "at"] {
            assert_eq!(received[field], sent[field]);
        }
        assert_eq!(received["from"], json!({ "id": ada.id, "name": "ada" }));
        assert_eq!((&received["msg"], &received["prev"]), (&json!("안녕 👋"), &joined["head"]));
        assert_eq!(a.expect("receive-msg").await, received, "the sender sees it too");
        let reply = json!({ "roomId": room, "msg": "hello", "replyTo": received["seq"] });
        b.ok("send-msg", reply).await;
        let reply = a.expect("receive-msg").await;
        assert_eq!((&reply["msg"], &reply["replyTo"]), (&json!("hello"), &received["seq"]));
    }

    async fn a_new_display_name_is_shown_to_others(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (mut b, _) = bob.join(&gateway, "lobby").await;
        a.ok("new", json!({ "roomId": room, "msg": "  에이다 " })).await;
        b.expect_where("presence", |data| data["joined"][0]["name"] == "에이다").await;
        a.ok("send-msg", json!({ "roomId": room, "msg": "x" })).await;
        assert_eq!(b.expect("receive-msg").await["from"]["name"], "에이다");
        a.ok("send-msg", json!({ "roomId": room, "msg": "x", "name": "A." })).await;
        assert_eq!(b.expect("receive-msg").await["from"], json!({ "id": ada.id, "name": "A." }));
    }

    async fn a_user_who_left_receives_no_more_messages(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (mut b, _) = bob.join(&gateway, "lobby").await;
        b.ok("leave-room", json!({ "roomId": room })).await;
        a.expect_where("presence", |data| data["left"][0]["id"] == json!(bob.id)).await;
        a.ok("send-msg", json!({ "roomId": room, "msg": "are you gone?" })).await;
        a.expect("receive-msg").await;
        b.refused("send-msg", json!({ "roomId": room, "msg": "x" }), "not-joined").await;
        // The barrier: events of a room reach a socket in their order, so the first message that bob receives
        // after joining again shows that the one before was not delivered to him.
        b.ok("join-room", bob.join_data("lobby", None).await).await;
        a.ok("send-msg", json!({ "roomId": room, "msg": "welcome back" })).await;
        assert_eq!(b.expect("receive-msg").await["msg"], "welcome back");
    }

    async fn members_who_stay_receive_everything(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let mut others = Vec::new();
        for _ in 0..4 {
            others.push(ada.join(&gateway, "lobby").await.0);
        }
        // The first, the last, and one from the middle of the gateway's list.
        for leaving in [0, 3, 1, 0] {
            let mut left = others.remove(leaving % others.len());
            left.ok("leave-room", json!({ "roomId": room })).await;
            let sent = a.ok("send-msg", json!({ "roomId": room, "msg": "who is left?" })).await;
            for socket in others.iter_mut().chain([&mut a]) {
                socket.expect_where("receive-msg", |data| data["seq"] == sent["seq"]).await;
            }
        }
    }

    async fn messages_of_one_sender_keep_their_order_without_gaps(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (mut b, joined) = bob.join(&gateway, "lobby").await;
        let mut acks = Vec::new();
        for index in 0..30 {
            acks.push(
                a.emit("send-msg", json!({ "roomId": room, "msg": index.to_string() })).await,
            );
        }
        for ack in acks {
            assert_eq!(a.ack(ack).await["ok"], true);
        }
        let mut last = joined["head"].as_u64().unwrap();
        for index in 0..30 {
            let event = b.expect("receive-msg").await;
            assert_eq!((&event["msg"], &event["prev"]), (&json!(index.to_string()), &json!(last)));
            last = event["seq"].as_u64().unwrap();
        }
    }

    async fn joining_with_after_replays_exactly_the_missed_events(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (b, _) = bob.join(&gateway, "lobby").await;
        let mut seqs = Vec::new();
        for index in 0..12 {
            let sent = a.ok("send-msg", json!({ "roomId": room, "msg": index.to_string() })).await;
            seqs.push(sent["seq"].as_u64().unwrap());
        }
        drop(b);
        // From the memory of a gateway that has the room, and from the stream by a gateway that does not.
        let other = system.start_gateway().await;
        for gateway in [&gateway, &other] {
            for missed in [0, 1, 5, 12] {
                let after =
                    seqs.len().checked_sub(missed + 1).map_or(seqs[0] - 1, |index| seqs[index]);
                let mut again = bob.connect(gateway).await;
                let joined = again.ok("join-room", bob.join_data("lobby", Some(after)).await).await;
                assert_eq!(
                    (&joined["recovered"], &joined["head"]),
                    (&json!(true), &json!(seqs[11]))
                );
                let stored = again.stored();
                let replayed: Vec<u64> = stored.iter().map(|(_, seq, _)| *seq).collect();
                assert_eq!(
                    replayed,
                    seqs[seqs.len() - missed..],
                    "before the acknowledgement, all of it"
                );
                let mut last = after;
                for (_, seq, prev) in stored {
                    assert_eq!(prev, last);
                    last = seq;
                }
            }
        }
        // Everything from the first event on, then live events without a gap.
        let mut all = bob.connect(&other).await;
        all.ok("join-room", bob.join_data("lobby", Some(0)).await).await;
        assert_eq!(all.stored().len(), 14, "two joined, twelve messages");
        let live = a.ok("send-msg", json!({ "roomId": room, "msg": "live" })).await;
        let event = all.expect_where("receive-msg", |data| data["msg"] == "live").await;
        assert_eq!((&event["seq"], &event["prev"]), (&live["seq"], &json!(seqs[11])));
        // A seq that the room has never reached.
        let mut lost = bob.connect(&other).await;
        let joined = lost.ok("join-room", bob.join_data("lobby", Some(1_000_000)).await).await;
        assert_eq!(joined["recovered"], false);
    }

    async fn more_than_a_thousand_missed_events_are_paged_by_http(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let sends = (0..1_001).map(|index| {
            ada.post(
                "/room/lobby/message",
                json!({ "id": uuid::Uuid::now_v7(), "msg": index.to_string() }),
            )
        });
        let sent: Vec<_> = futures_util::StreamExt::collect(
            futures_util::StreamExt::buffer_unordered(futures_util::stream::iter(sends), 32),
        )
        .await;
        assert!(sent.iter().all(|answer| answer.status == 201));
        let mut socket: Socket = ada.connect(&gateway).await;
        let joined = socket.ok("join-room", ada.join_data("lobby", Some(1)).await).await;
        assert_eq!((&joined["recovered"], socket.stored().len()), (&json!(false), 0));
        let mut again = ada.connect(&gateway).await;
        let joined = again.ok("join-room", ada.join_data("lobby", Some(2)).await).await;
        assert_eq!((&joined["recovered"], again.stored().len()), (&json!(true), 1_000));
        let mut missed = Vec::new();
        let mut page = ada.get("/room/lobby/message?after=1&limit=200").await.ok();
        loop {
            missed.extend(
                page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()),
            );
            let Some(cursor) = page["next"].as_str() else { break };
            page = ada.get(&format!("/room/lobby/message?limit=200&cursor={cursor}")).await.ok();
        }
        assert_eq!(missed, (2..=1_002).collect::<Vec<u64>>(), "{room}");
    }
}

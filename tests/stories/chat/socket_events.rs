//! Socket events other than sending: edits, reactions, deletions, typing, read marks, signals, and the end
//! of sockets and memberships.

use std::time::Duration;

use protocol::{
    Timestamp, UserId,
    stored::{Person, StoredEvent},
};
use serde_json::{Value, json};
use stories::{Closed, DEADLINE, Database, System, User, eventually, stories};

fn person(user: &User) -> Person {
    Person { id: user.id, name: user.name.parse().unwrap() }
}

stories! {
    async fn messages_are_edited_reacted_to_and_deleted_in_order(system: System) {
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&first, "lobby").await;
        let (mut b, _) = bob.join(&second, "lobby").await;
        let sent = b.ok("send-msg", json!({ "roomId": room, "msg": "helo" })).await;
        let target = &sent["seq"];
        let edited =
            b.ok("edit-msg", json!({ "roomId": room, "seq": target, "msg": "hello" })).await;
        let reacted = a
            .ok("react", json!({ "roomId": room, "seq": target, "emoji": "👍", "on": true }))
            .await;
        let deleted = a.ok("delete-msg", json!({ "roomId": room, "seq": target })).await;
        assert_eq!(edited["duplicate"], false);
        for socket in [&mut a, &mut b] {
            let event = socket.expect("msg-edited").await;
            let expected = json!({
                "roomId": room, "seq": edited["seq"], "prev": target, "at": edited["at"],
                "target": target, "msg": "hello", "by": bob.id,
            });
            assert_eq!(event, expected);
            let event = socket.expect("reaction").await;
            let expected = json!({
                "roomId": room, "seq": reacted["seq"], "prev": edited["seq"], "at": reacted["at"],
                "target": target, "emoji": "👍", "on": true, "by": { "id": ada.id, "name": "ada" },
            });
            assert_eq!(event, expected);
            let event = socket.expect("msg-deleted").await;
            let expected = json!({
                "roomId": room, "seq": deleted["seq"], "prev": reacted["seq"], "at": deleted["at"],
                "target": target, "by": ada.id,
            });
            assert_eq!(event, expected);
        }
        // A user who was away receives all of them in the same order.
        let mut again = bob.connect(&first).await;
        again.ok("join-room", bob.join_data("lobby", target.as_u64()).await).await;
        let names: Vec<String> = again.stored().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["msg-edited", "reaction", "msg-deleted"]);
    }

    async fn only_the_author_changes_a_message(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let (room, other) = (ada.create_room("lobby").await, ada.create_room("other").await);
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (mut b, _) = bob.join(&gateway, "lobby").await;
        let sent = a.ok("send-msg", json!({ "roomId": room, "msg": "mine" })).await;
        let at = |seq: &Value| json!({ "roomId": room, "seq": seq });
        let edit = |seq: &Value| json!({ "roomId": room, "seq": seq, "msg": "yours" });
        b.refused("edit-msg", edit(&sent["seq"]), "forbidden").await;
        b.refused("delete-msg", at(&sent["seq"]), "forbidden").await;
        a.refused(
            "edit-msg",
            json!({ "roomId": room, "seq": sent["seq"], "msg": "x".repeat(4_001) }),
            "message-too-long",
        )
        .await;
        // Seqs that are no message of this room: nothing, another kind of event, another room's message.
        let reaction = a
            .ok("react", json!({ "roomId": room, "seq": sent["seq"], "emoji": "🙂", "on": true }))
            .await;
        a.ok("join-room", ada.join_data("other", None).await).await;
        let elsewhere = a.ok("send-msg", json!({ "roomId": other, "msg": "there" })).await;
        for seq in [&json!(999_999), &json!(0), &reaction["seq"], &elsewhere["seq"]] {
            a.refused("edit-msg", edit(seq), "no-such-message").await;
            a.refused("delete-msg", at(seq), "no-such-message").await;
            a.refused(
                "react",
                json!({ "roomId": room, "seq": seq, "emoji": "🙂", "on": true }),
                "no-such-message",
            )
            .await;
        }
        b.refused(
            "edit-msg",
            json!({ "roomId": other, "seq": elsewhere["seq"], "msg": "x" }),
            "not-joined",
        )
        .await;
    }

    async fn typing_is_shown_and_not_stored(system: System) {
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&first, "lobby").await;
        let (mut b, joined) = bob.join(&second, "lobby").await;
        for _ in 0..5 {
            b.ok("typing", json!({ "roomId": room, "on": true })).await;
        }
        b.ok("typing", json!({ "roomId": room, "on": false })).await;
        let user = json!({ "id": bob.id, "name": "bob" });
        for on in [true, false] {
            assert_eq!(a.expect("typing").await, json!({ "roomId": room, "user": user, "on": on }));
        }
        let sent = a.ok("send-msg", json!({ "roomId": room, "msg": "done?" })).await;
        let event = a.expect_where("receive-msg", |data| data["seq"] == sent["seq"]).await;
        assert_eq!(event["prev"], joined["head"], "nothing was stored between");
    }

    async fn read_marks_are_shown_stored_and_only_move_forward(system: System) {
        let mut system = system;
        system.start_archive();
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&first, "lobby").await;
        let (mut b, _) = bob.join(&second, "lobby").await;
        let mut seqs = Vec::new();
        for text in ["1", "2", "3"] {
            seqs.push(
                a.ok("send-msg", json!({ "roomId": room, "msg": text })).await["seq"].clone(),
            );
            b.expect("receive-msg").await;
        }
        let read = |seq: &Value| json!({ "roomId": room, "seq": seq });
        b.ok("read", read(&seqs[1])).await;
        assert_eq!(
            a.expect("read").await,
            json!({ "roomId": room, "user": bob.id, "seq": seqs[1] })
        );
        b.ok("read", read(&seqs[0])).await;
        b.refused("read", read(&json!(seqs[2].as_u64().unwrap() + 1)), "invalid-value").await;
        let unread = || async {
            let rooms = bob.get("/room?mine=true").await.ok();
            (rooms["items"][0]["unread"] == 1).then_some(())
        };
        eventually("one unread message", unread).await;
        // Read marks are stored elsewhere and leave no gap between messages.
        let sent = a.ok("send-msg", json!({ "roomId": room, "msg": "4" })).await;
        let event = b.expect_where("receive-msg", |data| data["seq"] == sent["seq"]).await;
        assert_eq!(event["prev"], seqs[2]);
    }

    async fn a_signal_reaches_only_the_receivers_sockets(system: System) {
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob, eve) =
            (system.user("ada").await, system.user("bob").await, system.user("eve").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&first, "lobby").await;
        let (mut b1, _) = bob.join(&first, "lobby").await;
        let (mut b2, _) = bob.join(&second, "lobby").await;
        let (mut e, _) = eve.join(&second, "lobby").await;
        let offer = json!({ "type": "offer", "sdp": "v=0\r\n한", "n": [1, { "x": null }] });
        a.ok("signal", json!({ "roomId": room, "to": bob.id, "data": offer })).await;
        let expected =
            json!({ "roomId": room, "from": { "id": ada.id, "name": "ada" }, "data": offer });
        assert_eq!(b1.expect("signal").await, expected);
        assert_eq!(b2.expect("signal").await, expected);
        a.ok("signal", json!({ "roomId": room, "to": eve.id, "data": "for eve" })).await;
        assert_eq!(e.expect("signal").await["data"], "for eve", "and nothing before it");
        let nowhere = json!({ "roomId": ada.create_room("other").await, "to": bob.id, "data": 1 });
        a.refused("signal", nowhere, "not-joined").await;
    }

    async fn a_socket_ends_with_its_token_unless_it_is_refreshed(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        let now = Timestamp::now().unix();
        let short =
            system.minter.access_until(ada.id, system.claims(&ada).session, now + 3).unwrap();
        let mut kept = stories::Socket::connect(&gateway.base, &short).await;
        let mut left = stories::Socket::connect(&gateway.base, &short).await;
        kept.refused("refresh", json!({ "token": bob.access }), "wrong-user").await;
        kept.refused("refresh", json!({ "token": "x" }), "token-invalid").await;
        let other = ada.create_room("other").await;
        let ticket = system.ticket(&ada, other, protocol::Role::Owner);
        kept.refused("refresh", json!({ "token": ticket }), "token-wrong-kind").await;
        kept.ok("refresh", json!({ "token": ada.access })).await;
        assert_eq!(left.expect("session-expired").await["code"], "token-expired");
        assert_eq!(left.closed().await, Closed::Code(1000));
        kept.ok("join-room", ada.join_data("lobby", None).await).await;
    }

    async fn a_removed_member_receives_no_more_messages(system: System) {
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&first, "lobby").await;
        let (mut b1, _) = bob.join(&first, "lobby").await;
        let (mut b2, _) = bob.join(&second, "lobby").await;
        let again = bob.join_data("lobby", None).await;
        let barrier = ada.create_room("barrier").await;
        a.ok("join-room", ada.join_data("barrier", None).await).await;
        for socket in [&mut b1, &mut b2] {
            socket.ok("join-room", bob.join_data("barrier", None).await).await;
        }
        let at = Timestamp::now();
        let removed =
            StoredEvent::MemberRemoved { user: person(&bob), by: ada.id, banned: true, at };
        system.append_event(room, removed).await;
        system.publish_membership(room, bob.id, 9, None).await;
        for socket in [&mut a, &mut b1, &mut b2] {
            let event = socket.expect("member-removed").await;
            assert_eq!((&event["user"]["id"], &event["banned"]), (&json!(bob.id), &json!(true)));
        }
        let gone =
            a.expect_where("presence", |data| !data["left"].as_array().unwrap().is_empty()).await;
        assert_eq!((&gone["left"][0]["id"], &gone["count"]), (&json!(bob.id), &json!(1)));
        a.ok("send-msg", json!({ "roomId": room, "msg": "he is gone" })).await;
        a.expect("receive-msg").await;
        for socket in [&mut b1, &mut b2] {
            let refused = json!({ "roomId": room, "msg": "I am not" });
            socket.refused("send-msg", refused, "not-joined").await;
            socket.refused("join-room", again.clone(), "forbidden").await;
        }
        // The barrier: a later message of another room. A message of this room would arrive before it.
        a.ok("send-msg", json!({ "roomId": barrier, "msg": "barrier" })).await;
        for socket in [&mut b1, &mut b2] {
            assert_eq!(socket.expect("receive-msg").await["msg"], "barrier");
        }
    }

    async fn a_revoked_membership_ends_without_its_event(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (mut b, _) = bob.join(&gateway, "lobby").await;
        system.publish_membership(room, bob.id, 9, None).await;
        a.expect_where("presence", |data| !data["left"].as_array().unwrap().is_empty()).await;
        b.refused("leave-room", json!({ "roomId": room }), "not-joined").await;
    }

    async fn events_of_members_and_titles_keep_their_order(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (by, at) = (ada.id, Timestamp::now());
        let user = Person { id: UserId::generate(), name: "Zoë".parse().unwrap() };
        let title = Some("새 제목".parse().unwrap());
        for event in [
            StoredEvent::MemberJoined { user: user.clone(), at },
            StoredEvent::RoomUpdated { title, private: true, by, at },
            StoredEvent::MemberLeft { user, at },
        ] {
            system.append_event(room, event).await;
        }
        let joined = a.expect_where("member-joined", |data| data["user"]["name"] == "Zoë").await;
        let updated = a.expect("room-updated").await;
        let left = a.expect("member-left").await;
        assert_eq!((&updated["title"], &updated["prev"]), (&json!("새 제목"), &joined["seq"]));
        assert_eq!(left["prev"], updated["seq"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_of_a_killed_gateway_are_gone_within_20_seconds() {
    let system = System::new(Database::Sqlite).await;
    let gateway = system.start_gateway().await;
    let (ada, bob) = (system.user("ada").await, system.user("bob").await);
    ada.create_room("lobby").await;
    let mut other = system.start_server("gateway", |_| {}).await;
    let (mut a, _) = ada.join(&gateway, "lobby").await;
    let mut b = stories::Socket::connect(&other.base, &bob.access).await;
    b.ok("join-room", bob.join_data("lobby", None).await).await;
    a.expect_where("presence", |data| data["count"] == 2).await;
    other.child.kill().await.unwrap();
    let gone = a.expect_where("presence", |data| data["count"] == 1);
    // The deadline is longer than that of `expect`, which reports the failure better.
    let gone = tokio::time::timeout(DEADLINE + Duration::from_secs(1), gone).await.unwrap();
    assert_eq!(gone["left"], json!([{ "id": bob.id, "name": "bob" }]));
    assert_eq!(b.closed().await, Closed::Broken);
}

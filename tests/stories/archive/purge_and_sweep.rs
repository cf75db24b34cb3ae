//! The archive purges the stream, removes deleted rooms and objects, and sweeps the outbox, each exactly
//! once.

use protocol::{
    RoomId, Timestamp,
    stored::StoredEvent,
    subject::{self, Shards},
};
use serde_json::{Value, json};
use stories::{System, eventually, stories};

/// Runs the archive until a pass moves nothing.
async fn archive_all(system: &System) {
    while system.archive_once().await > 0 {}
}

/// An outbox row of a request that ended long ago without publishing it.
async fn insert_outbox_row(system: &System, room: RoomId, msg: &str) -> uuid::Uuid {
    let id = uuid::Uuid::now_v7();
    let from =
        protocol::stored::Person { id: protocol::UserId::generate(), name: "Ada".parse().unwrap() };
    let event =
        StoredEvent::RoomBroadcast { from, msg: msg.parse().unwrap(), at: Timestamp::now() };
    let payload: String = event.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let subject = subject::stored(Shards::new(1).unwrap(), room);
    let (id_text, hex) = (id.simple().to_string(), |text: &str| format!("'\\x{text}'"));
    let row = if system.is_postgres() {
        format!("'{id}', '{subject}', {}, now() - interval '1 hour'", hex(&payload))
    } else {
        format!(
            "X'{id_text}', '{subject}', X'{payload}', strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-1 hour')"
        )
    };
    system
        .execute(&format!("INSERT INTO outbox (id, subject, payload, created_at) VALUES ({row})"))
        .await;
    id
}

stories! {
    async fn archived_events_are_purged_without_gaps(system: System) {
        let mut system = system;
        system.set_variable("REPLAY_WINDOW_SECONDS", "0");
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let (room, quiet) = (ada.create_room("lobby").await, ada.create_room("quiet").await);
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let mut seqs = Vec::new();
        for n in 0..20 {
            seqs.push(ada.post_message("lobby", &n.to_string()).await);
        }
        let last = ada.post_message("quiet", "alone").await;
        archive_all(&system).await;
        // The first pass of a new archive purges the events that the previous one moved.
        assert_eq!(system.count_stored_events(room).await, 1);
        assert_eq!(system.count_stored_events(quiet).await, 1);
        let page = ada.get("/room/lobby/message").await.ok();
        let read: Vec<u64> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["seq"].as_u64().unwrap())
            .collect();
        assert_eq!(read, seqs);
        let newest = seqs[19];
        let next = ada.post_message("lobby", "next").await;
        let event = socket.expect_where("receive-msg", |data| data["msg"] == "next").await;
        assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(newest)));
        let (mut another, joined) = bob.join(&gateway, "quiet").await;
        ada.post_message("quiet", "not alone").await;
        assert_eq!(another.expect("receive-msg").await["prev"], joined["head"]);
        // A new gateway: a client with the newest event gets the next one, others must read pages.
        let fresh = system.start_gateway().await;
        for (after, recovered) in [(newest, true), (next, true), (seqs[18], false), (0, false)] {
            let mut again = bob.connect(&fresh).await;
            let joined = again.ok("join-room", bob.join_data("lobby", Some(after)).await).await;
            assert_eq!(joined["recovered"], recovered, "after {after}");
            if after == newest {
                let event = again.expect("receive-msg").await;
                assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(newest)));
            }
        }
        assert_eq!(
            system.count("SELECT MIN(kept_seq) FROM room_log").await,
            last.min(newest) as i64
        );
        // The page after the gap is complete.
        let missed = ada.get(&format!("/room/lobby/message?after={}", seqs[4])).await.ok();
        assert_eq!(missed["items"].as_array().unwrap().len(), 16);
    }

    async fn recent_events_stay_in_the_stream(system: System) {
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        for n in 0..5 {
            ada.post_message("lobby", &n.to_string()).await;
        }
        archive_all(&system).await;
        archive_all(&system).await;
        assert_eq!(system.count_stored_events(room).await, 6);
    }

    async fn nothing_is_left_of_a_deleted_room(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let seq = ada.post_message("lobby", "archived").await;
        socket.ok("react", json!({ "roomId": room, "seq": seq, "emoji": "👍", "on": true })).await;
        let file = json!({ "name": "a.txt", "size": 3, "type": "text/plain" });
        let declared = ada.post("/room/lobby/file", file).await.ok();
        assert!(system.upload(&declared, b"abc").await.is_success());
        let path = format!("/file/{}", declared["file"]["id"].as_str().unwrap());
        ada.post(&format!("{path}/complete"), json!({})).await.ok();
        let link = ada.request(reqwest::Method::GET, &path).header("accept", "application/json");
        let link = stories::Answer::of(link).await.ok()["url"].as_str().unwrap().to_owned();
        assert!(system.http.get(&link).send().await.unwrap().status().is_success());
        archive_all(&system).await;
        ada.post_message("lobby", "not archived").await;

        // The state after a crash right behind the commit: nothing is published or removed.
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
        socket.expect("room-deleted").await;
        ada.get(&path).await.problem(404, "no-such-file");
        archive_all(&system).await;
        for count in [
            "SELECT COUNT(*) FROM message",
            "SELECT COUNT(*) FROM reaction",
            "SELECT COUNT(*) FROM member",
            "SELECT COUNT(*) FROM file",
            "SELECT COUNT(*) FROM read_mark",
        ] {
            assert_eq!(system.count(count).await, 0, "{count}");
        }
        assert_eq!(system.http.get(&link).send().await.unwrap().status(), 404);
        assert_eq!(system.count_stored_events(room).await, 1, "that it is deleted");
        // An hour later the row is gone too.
        let ago = if system.is_postgres() {
            "now() - interval '2 hours'"
        } else {
            "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-2 hours')"
        };
        assert_eq!(
            system
                .execute(&format!(
                    "UPDATE room SET emptied_at = {ago} WHERE emptied_at IS NOT NULL"
                ))
                .await,
            1
        );
        archive_all(&system).await;
        assert_eq!(system.count("SELECT COUNT(*) FROM room").await, 0);
        assert_eq!(system.count_stored_events(room).await, 0);
    }

    async fn old_outbox_rows_are_published_once(system: System) {
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let published = insert_outbox_row(&system, room, "published").await;
        insert_outbox_row(&system, room, "not published").await;
        // The process that published it died before it deleted the row, and the dedupe window is over.
        let context = async_nats::jetstream::new(system.nats_as("functions").await);
        let subject = subject::stored(Shards::new(1).unwrap(), room);
        for _ in 0..300 {
            system.append_event(room, notice("other")).await;
        }
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, published.to_string().as_str());
        let payload = notice("published").encode();
        context
            .publish_with_headers(subject, headers, payload.into())
            .await
            .unwrap()
            .await
            .unwrap();
        system.expire_dedupe_window().await;
        system.archive_once().await;
        assert_eq!(system.count("SELECT COUNT(*) FROM outbox").await, 0);
        assert_eq!(system.count_stored_events(room).await, 1 + 300 + 1 + 1);
    }

    async fn without_nats_reads_work_and_writes_are_refused(system: System) {
        let mut system = system;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        bob.enter("lobby").await;
        ada.post_message("lobby", "archived").await;
        archive_all(&system).await;
        ada.post_message("lobby", "not archived").await;
        system.nats.kill();
        let page = ada.get("/room/lobby/message").await;
        assert_eq!(page.headers["x-history"], "archived");
        assert_eq!(page.ok()["items"].as_array().unwrap().len(), 1);
        for path in [
            "/room",
            "/room/lobby",
            "/room/lobby/member",
            "/room/lobby/message/search?q=archived",
            "/user",
            "/user/session",
            "/user/export",
        ] {
            ada.get(path).await.ok();
        }
        let members = ada.get("/room/lobby/member").await.ok();
        assert_eq!(members["items"][0]["online"], Value::Null);
        let message = json!({ "id": uuid::Uuid::now_v7(), "msg": "x" });
        for (path, body) in
            [("/room/lobby/message", message), ("/room/lobby/broadcast", json!({ "msg": "x" }))]
        {
            let refused = ada.post(path, body).await;
            refused.problem(503, "unavailable");
            assert!(refused.headers.contains_key("retry-after"));
        }
        let ready = ada.get("/readyz").await;
        let parts = (&ready.body["nats"], &ready.body["database"], &ready.body["storage"]);
        assert_eq!(
            (ready.status.as_u16(), parts),
            (503, (&json!(false), &json!(true), &json!(true)))
        );
        // Operations that need no answer of NATS succeed now, and their events are published later, in order.
        assert_eq!(ada.delete(&format!("/room/lobby/member/{}", bob.id)).await.status, 204);
        assert_eq!(ada.post("/room/lobby/member", json!({ "name": "bob" })).await.status, 201);
        system.restart_nats();
        system.start_archive();
        let gateway = system.start_gateway().await;
        let (mut socket, _) = eventually("bob to join", || async {
            let mut socket = bob.connect(&gateway).await;
            let joined = socket.call("join-room", bob.join_data("lobby", Some(0)).await).await;
            (joined["ok"] == true).then_some((socket, joined))
        })
        .await;
        eventually("all that is owed", || async {
            (system.count("SELECT COUNT(*) FROM outbox").await == 0).then_some(())
        })
        .await;
        socket.expect("member-removed").await;
        let back =
            socket.expect_where("member-joined", |data| data["user"]["id"] == json!(bob.id)).await;
        assert!(back["seq"].is_u64());
    }
}

fn notice(msg: &str) -> StoredEvent {
    let from =
        protocol::stored::Person { id: protocol::UserId::generate(), name: "Ada".parse().unwrap() };
    StoredEvent::RoomBroadcast { from, msg: msg.parse().unwrap(), at: Timestamp::now() }
}

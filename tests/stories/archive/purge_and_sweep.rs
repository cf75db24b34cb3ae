//! What the archive does beside moving: it purges the stream, removes what is deleted, sweeps what was
//! left behind, and finishes nothing twice.

use protocol::{
    RoomId, Timestamp,
    stored::StoredEvent,
    subject::{self, Shards},
};
use serde_json::{Value, json};
use stories::{World, eventually, stories};

/// Until one pass finds nothing to move.
async fn archive_all(world: &World) {
    while world.archive_once().await > 0 {}
}

/// A row of the outbox as a request of long ago left it.
async fn owe(world: &World, room: RoomId, msg: &str) -> uuid::Uuid {
    let id = uuid::Uuid::now_v7();
    let from =
        protocol::stored::Person { id: protocol::UserId::generate(), name: "Ada".parse().unwrap() };
    let event =
        StoredEvent::RoomBroadcast { from, msg: msg.parse().unwrap(), at: Timestamp::now() };
    let payload: String = event.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let subject = subject::stored(Shards::new(1).unwrap(), room);
    let (id_text, hex) = (id.simple().to_string(), |text: &str| format!("'\\x{text}'"));
    let row = if world.is_postgres() {
        format!("'{id}', '{subject}', {}, now() - interval '1 hour'", hex(&payload))
    } else {
        format!(
            "X'{id_text}', '{subject}', X'{payload}', strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-1 hour')"
        )
    };
    world
        .sql(&format!("INSERT INTO outbox (id, subject, payload, created_at) VALUES ({row})"))
        .await;
    id
}

stories! {
    async fn archived_events_leave_the_stream_and_no_chain_breaks(world: World) {
        let mut world = world;
        world.set("REPLAY_WINDOW_SECONDS", "0");
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let (room, quiet) = (ada.create_room("lobby").await, ada.create_room("quiet").await);
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let mut seqs = Vec::new();
        for n in 0..20 {
            seqs.push(ada.say("lobby", &n.to_string()).await);
        }
        let last = ada.say("quiet", "alone").await;
        archive_all(&world).await;
        // A new archive purges with its first pass, what the one before has moved.
        assert_eq!(world.events_in_stream(room).await, 1);
        assert_eq!(world.events_in_stream(quiet).await, 1);
        let page = ada.get("/room/lobby/message").await.ok();
        let read: Vec<u64> = page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect();
        assert_eq!(read, seqs);
        let newest = seqs[19];
        let next = ada.say("lobby", "next").await;
        let event = socket.expect_where("receive-msg", |data| data["msg"] == "next").await;
        assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(newest)));
        let (mut another, joined) = bob.join(&gateway, "quiet").await;
        ada.say("quiet", "not alone").await;
        assert_eq!(another.expect("receive-msg").await["prev"], joined["head"]);
        // A gateway that knows nothing yet: who was there up to the newest gets the next, others page.
        let fresh = world.gateway().await;
        for (after, recovered) in [(newest, true), (next, true), (seqs[18], false), (0, false)] {
            let mut again = bob.connect(&fresh).await;
            let joined = again.ok("join-room", bob.join_data("lobby", Some(after)).await).await;
            assert_eq!(joined["recovered"], recovered, "after {after}");
            if after == newest {
                let event = again.expect("receive-msg").await;
                assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(newest)));
            }
        }
        assert_eq!(world.count("SELECT MIN(kept_seq) FROM room_log").await, last.min(newest) as i64);
        // And the page after what was missed is whole.
        let missed = ada.get(&format!("/room/lobby/message?after={}", seqs[4])).await.ok();
        assert_eq!(missed["items"].as_array().unwrap().len(), 16);
    }

    async fn what_is_young_stays_in_the_stream(world: World) {
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        for n in 0..5 {
            ada.say("lobby", &n.to_string()).await;
        }
        archive_all(&world).await;
        archive_all(&world).await;
        assert_eq!(world.events_in_stream(room).await, 6);
    }

    async fn nothing_is_left_of_a_deleted_room(world: World) {
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let seq = ada.say("lobby", "archived").await;
        socket.ok("react", json!({ "roomId": room, "seq": seq, "emoji": "👍", "on": true })).await;
        let file = json!({ "name": "a.txt", "size": 3, "type": "text/plain" });
        let declared = ada.post("/room/lobby/file", file).await.ok();
        assert!(world.put(&declared, b"abc").await.is_success());
        let path = format!("/file/{}", declared["file"]["id"].as_str().unwrap());
        ada.post(&format!("{path}/complete"), json!({})).await.ok();
        let link = ada.request(reqwest::Method::GET, &path).header("accept", "application/json");
        let link = stories::Answer::of(link).await.ok()["url"].as_str().unwrap().to_owned();
        assert!(world.http.get(&link).send().await.unwrap().status().is_success());
        archive_all(&world).await;
        ada.say("lobby", "not archived").await;

        // The process dies after the commit: as if nothing had been published or removed.
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
        socket.expect("room-deleted").await;
        ada.get(&path).await.problem(404, "no-such-file");
        archive_all(&world).await;
        for count in [
            "SELECT COUNT(*) FROM message", "SELECT COUNT(*) FROM reaction", "SELECT COUNT(*) FROM member",
            "SELECT COUNT(*) FROM file", "SELECT COUNT(*) FROM read_mark",
        ] {
            assert_eq!(world.count(count).await, 0, "{count}");
        }
        assert_eq!(world.http.get(&link).send().await.unwrap().status(), 404);
        assert_eq!(world.events_in_stream(room).await, 1, "that it is deleted");
        // An hour later not even that.
        let ago = if world.is_postgres() { "now() - interval '2 hours'" } else { "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-2 hours')" };
        assert_eq!(world.sql(&format!("UPDATE room SET emptied_at = {ago} WHERE emptied_at IS NOT NULL")).await, 1);
        archive_all(&world).await;
        assert_eq!(world.count("SELECT COUNT(*) FROM room").await, 0);
        assert_eq!(world.events_in_stream(room).await, 0);
    }

    async fn what_was_owed_for_long_is_published_once(world: World) {
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        let published = owe(&world, room, "published").await;
        owe(&world, room, "not published").await;
        // Whoever published the first one died before they deleted the row, and JetStream has forgotten it.
        let context = async_nats::jetstream::new(world.nats_as("functions").await);
        let subject = subject::stored(Shards::new(1).unwrap(), room);
        for _ in 0..300 {
            world.append(room, notice("other")).await;
        }
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, published.to_string().as_str());
        let payload = notice("published").encode();
        context.publish_with_headers(subject, headers, payload.into()).await.unwrap().await.unwrap();
        world.forget_message_ids().await;
        world.archive_once().await;
        assert_eq!(world.count("SELECT COUNT(*) FROM outbox").await, 0);
        assert_eq!(world.events_in_stream(room).await, 1 + 300 + 1 + 1);
    }

    async fn without_nats_reading_goes_on_and_writing_says_try_again(world: World) {
        let mut world = world;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        ada.create_room("lobby").await;
        bob.enter("lobby").await;
        ada.say("lobby", "archived").await;
        archive_all(&world).await;
        ada.say("lobby", "not archived").await;
        world.nats.kill();
        let page = ada.get("/room/lobby/message").await;
        assert_eq!(page.headers["x-history"], "archived");
        assert_eq!(page.ok()["items"].as_array().unwrap().len(), 1);
        for path in ["/room", "/room/lobby", "/room/lobby/member", "/room/lobby/message/search?q=archived", "/user", "/user/session", "/user/export"] {
            ada.get(path).await.ok();
        }
        let members = ada.get("/room/lobby/member").await.ok();
        assert_eq!(members["items"][0]["online"], Value::Null);
        let message = json!({ "id": uuid::Uuid::now_v7(), "msg": "x" });
        for (path, body) in [("/room/lobby/message", message), ("/room/lobby/broadcast", json!({ "msg": "x" }))] {
            let refused = ada.post(path, body).await;
            refused.problem(503, "unavailable");
            assert!(refused.headers.contains_key("retry-after"));
        }
        let ready = ada.get("/readyz").await;
        let parts = (&ready.body["nats"], &ready.body["database"], &ready.body["storage"]);
        assert_eq!((ready.status.as_u16(), parts), (503, (&json!(false), &json!(true), &json!(true))));
        // What needs no answer of NATS is done now and told later, in its order.
        assert_eq!(ada.delete(&format!("/room/lobby/member/{}", bob.id)).await.status, 204);
        assert_eq!(ada.post("/room/lobby/member", json!({ "name": "bob" })).await.status, 201);
        world.restart_nats();
        world.start_archive();
        let gateway = world.gateway().await;
        let (mut socket, _) = eventually("bob to join", || async {
            let mut socket = bob.connect(&gateway).await;
            let joined = socket.call("join-room", bob.join_data("lobby", Some(0)).await).await;
            (joined["ok"] == true).then_some((socket, joined))
        }).await;
        eventually("all that is owed", || async {
            (world.count("SELECT COUNT(*) FROM outbox").await == 0).then_some(())
        }).await;
        socket.expect("member-removed").await;
        let back = socket.expect_where("member-joined", |data| data["user"]["id"] == json!(bob.id)).await;
        assert!(back["seq"].is_u64());
    }
}

fn notice(msg: &str) -> StoredEvent {
    let from =
        protocol::stored::Person { id: protocol::UserId::generate(), name: "Ada".parse().unwrap() };
    StoredEvent::RoomBroadcast { from, msg: msg.parse().unwrap(), at: Timestamp::now() }
}

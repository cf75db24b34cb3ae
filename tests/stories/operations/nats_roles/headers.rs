//! Headers by which a publisher asks the server for more than to store a message, or claims what only the server says.

use async_nats::HeaderMap;
use protocol::{
    MessageId, Timestamp,
    stored::{Message, Person, StoredEvent},
    subject::{self, Shards},
};
use serde_json::json;
use stories::{Database, User, World, eventually};

use super::{NO_ANSWER, ROLES, admin, everything, is_stored};

/// Each with what it would do.
const TRICKS: [&[(&str, &str)]; 10] = [
    &[("Nats-Rollup", "all")],
    &[("Nats-Rollup", "sub")],
    &[("Nats-TTL", "1s")],
    &[("Nats-Schedule", "@every 1s"), ("Nats-Schedule-Target", "chat.0.in.y")],
    &[("Nats-Schedule", "@at 2026-01-01T00:00:00Z"), ("Nats-Schedule-Target", "$KV.purged.x")],
    &[("Nats-Batch-Id", "x"), ("Nats-Batch-Sequence", "1"), ("Nats-Batch-Commit", "1")],
    &[("Nats-Incr", "1")],
    &[("Nats-Trace-Dest", "$JS.API.STREAM.PURGE.KV_revoked")],
    &[("Nats-Trace-Dest", "$JS.API.STREAM.PURGE.CHAT_0"), ("Nats-Trace-Only", "true")],
    &[("Nats-Marker-Reason", "Purge"), ("Nats-TTL", "never")],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_has_the_server_remove_delay_or_move_anything() {
    let world = World::new(Database::Sqlite).await;
    let admin = admin(&world).await;
    let archive = world.nats_as("archive").await;
    let subjects = ["chat.0.in.x", "$KV.revoked.session.x", "$KV.files.x.y", "$KV.purged.x"];
    for subject in subjects {
        assert!(is_stored(&archive, subject, &[], "7").await);
        assert!(is_stored(&archive, subject, &[("Nats-Msg-Id", "known")], "7").await);
    }
    let before = everything(&admin).await;
    for role in ROLES {
        let client = world.nats_as(role).await;
        for headers in TRICKS {
            for subject in subjects {
                assert!(!is_stored(&client, subject, headers, "{}").await, "{role} {headers:?}");
            }
        }
    }
    assert_eq!(everything(&admin).await, before);
    // Stored, and without an effect on what was there.
    for headers in [
        &[("KV-Operation", "PURGE")][..],
        &[("KV-Operation", "DEL")],
        &[("Nats-Request-Info", r#"{"acc":"CHAT"}"#)],
    ] {
        assert!(is_stored(&archive, "$KV.revoked.session.y", headers, "").await, "{headers:?}");
    }
    tokio::time::sleep(NO_ANSWER).await;
    let bucket = admin.get_stream("KV_revoked").await.unwrap();
    let state = &bucket.cached_info().state;
    assert_eq!((state.first_sequence, state.messages), (1, state.last_sequence));
}

fn message(by: &User, text: &str) -> String {
    let message = Message {
        id: MessageId::generate(),
        from: Person { id: by.id, name: "ada".parse().unwrap() },
        msg: text.parse().unwrap(),
        at: Timestamp::now(),
        file: None,
        reply_to: None,
    };
    String::from_utf8(StoredEvent::ReceiveMsg(message).encode()).unwrap()
}

/// A taken-over gateway claims places for its events, and has the server send other messages where only the stream
/// publishes. Sockets of another gateway get every event once, at its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_place_or_source_of_an_event_is_not_believed() {
    let world = World::new(Database::Sqlite).await;
    let gateway = world.gateway().await;
    let ada = world.user("ada").await;
    let room = ada.create_room("lobby").await;
    let (mut socket, joined) = ada.join(&gateway, "lobby").await;
    let shards = Shards::new(1).unwrap();
    let evil = world.nats_as("gateway").await;
    let head = joined["head"].as_u64().unwrap().to_string();
    for (seq, prev) in [("9000000", head.as_str()), ("1", "0")] {
        let claims =
            [("Nats-Stream", "CHAT_0"), ("Nats-Sequence", seq), ("Nats-Last-Sequence", prev)];
        let subject = subject::stored(shards, room);
        assert!(is_stored(&evil, &subject, &claims, &message(&ada, "claims a place")).await);
        assert!(is_stored(&evil, "chat.0.in.elsewhere", &claims, &message(&ada, "forged")).await);
        for request in [
            json!({ "last_by_subj": "chat.0.in.elsewhere" }),
            json!({ "seq": 1, "next_by_subj": "chat.0.in.elsewhere", "batch": 9 }),
        ] {
            let (api, reply) = ("$JS.API.DIRECT.GET.CHAT_0", subject::republished(shards, room));
            evil.publish_with_reply(api, reply, request.to_string().into()).await.unwrap();
        }
    }
    evil.flush().await.unwrap();
    let last = ada.say("lobby", "the last").await;
    let mut prev = joined["head"].as_u64().unwrap();
    loop {
        let event = socket.expect("receive-msg").await;
        assert_ne!(event["msg"], "forged");
        assert_eq!(event["prev"], prev, "{event}");
        prev = event["seq"].as_u64().unwrap();
        if event["msg"] == "the last" {
            break;
        }
    }
    assert_eq!(prev, last);
}

/// The same with a revocation: another gateway's session goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_revocation_is_not_believed_and_none_is_taken_back() {
    let world = World::new(Database::Sqlite).await;
    let gateway = world.gateway().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    ada.create_room("lobby").await;
    let (mut socket, _) = ada.join(&gateway, "lobby").await;
    let evil = world.nats_as("gateway").await;
    let key = format!("session.{}", world.claims(&ada).session);
    let claims = [
        ("Nats-Stream", "KV_revoked"),
        ("Nats-Subject", &format!("$KV.revoked.{key}")),
        ("Nats-Sequence", "9000000"),
    ];
    assert!(is_stored(&evil, "chat.0.in.elsewhere", &claims, "now").await);
    let request = json!({ "last_by_subj": "chat.0.in.elsewhere" }).to_string();
    let reply = format!("chat.revoked.{key}");
    evil.publish_with_reply("$JS.API.DIRECT.GET.CHAT_0", reply, request.into()).await.unwrap();
    evil.flush().await.unwrap();

    // Bob's session ends, and with the functions' rights that is not undone.
    let revoked = format!("$KV.revoked.session.{}", world.claims(&bob).session);
    let functions = world.nats_as("functions").await;
    assert!(is_stored(&functions, &revoked, &[], "now").await);
    let mut deleted = HeaderMap::new();
    deleted.insert("KV-Operation", "DEL");
    let sent = functions.request_with_headers(revoked, deleted, "".into()).await;
    assert!(sent.is_ok());
    eventually("bob to be refused", || async {
        let token = json!({ "token": bob.access });
        stories::Socket::try_connect(&gateway.base, token).await.is_err().then_some(())
    })
    .await;
    for gateway in [&gateway, &world.gateway().await] {
        let token = json!({ "token": bob.access });
        let refused = stories::Socket::try_connect(&gateway.base, token).await.err().unwrap();
        assert_eq!(refused["data"]["code"], "session-revoked");
    }
    // Ada's goes on.
    let room = joined_room(&ada).await;
    socket.ok("send-msg", json!({ "roomId": room, "msg": "still here" })).await;
}

async fn joined_room(user: &User) -> serde_json::Value {
    user.get("/room/lobby").await.ok()["room"]["id"].clone()
}

//! Attacks with headers that make the server do more than store a message, or that forge the server's own headers.

use async_nats::HeaderMap;
use protocol::{
    MessageId, Timestamp,
    stored::{Message, Person, StoredEvent},
    subject::{self, Shards},
};
use serde_json::json;
use stories::{Database, System, User, eventually};

use super::{ROLES, admin, is_stored, stream_state, wait_for_effects};

/// Headers that would remove, delay, move or trace messages.
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
async fn headers_cannot_remove_delay_or_move_messages() {
    let system = System::new(Database::Sqlite).await;
    let admin = admin(&system).await;
    let archive = system.nats_as("archive").await;
    let subjects = ["chat.0.in.x", "$KV.revoked.session.x", "$KV.files.x.y", "$KV.purged.x"];
    for subject in subjects {
        assert!(is_stored(&archive, subject, &[], "7").await);
        assert!(is_stored(&archive, subject, &[("Nats-Msg-Id", "known")], "7").await);
    }
    let before = stream_state(&admin).await;
    for role in ROLES {
        let client = system.nats_as(role).await;
        for headers in TRICKS {
            for subject in subjects {
                assert!(!is_stored(&client, subject, headers, "{}").await, "{role} {headers:?}");
            }
        }
    }
    assert_eq!(stream_state(&admin).await, before);
    // These are stored and have no effect on existing messages.
    for headers in [
        &[("KV-Operation", "PURGE")][..],
        &[("KV-Operation", "DEL")],
        &[("Nats-Request-Info", r#"{"acc":"CHAT"}"#)],
    ] {
        assert!(is_stored(&archive, "$KV.revoked.session.y", headers, "").await, "{headers:?}");
    }
    wait_for_effects().await;
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

/// A compromised gateway forges the seqs of its events, and makes the server send other messages on the subjects of
/// republished events. Sockets of another gateway receive every event once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_seqs_and_sources_are_ignored() {
    let system = System::new(Database::Sqlite).await;
    let gateway = system.start_gateway().await;
    let ada = system.user("ada").await;
    let room = ada.create_room("lobby").await;
    let (mut socket, joined) = ada.join(&gateway, "lobby").await;
    let shards = Shards::new(1).unwrap();
    let evil = system.nats_as("gateway").await;
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
    let last = ada.post_message("lobby", "the last").await;
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

/// The same with a forged revocation: sessions at another gateway continue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_cannot_be_forged_or_undone() {
    let system = System::new(Database::Sqlite).await;
    let gateway = system.start_gateway().await;
    let (ada, bob) = (system.user("ada").await, system.user("bob").await);
    ada.create_room("lobby").await;
    let (mut socket, _) = ada.join(&gateway, "lobby").await;
    let evil = system.nats_as("gateway").await;
    let key = format!("session.{}", system.claims(&ada).session);
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

    // Bob's session is revoked. The permissions of the functions cannot undo that.
    let revoked = format!("$KV.revoked.session.{}", system.claims(&bob).session);
    let functions = system.nats_as("functions").await;
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
    for gateway in [&gateway, &system.start_gateway().await] {
        let token = json!({ "token": bob.access });
        let refused = stories::Socket::try_connect(&gateway.base, token).await.err().unwrap();
        assert_eq!(refused["data"]["code"], "session-revoked");
    }
    // Ada's session continues.
    let room = joined_room(&ada).await;
    socket.ok("send-msg", json!({ "roomId": room, "msg": "still here" })).await;
}

async fn joined_room(user: &User) -> serde_json::Value {
    user.get("/room/lobby").await.ok()["room"]["id"].clone()
}

//! Attacks with reply subjects: the server publishes an answer with its own rights.

use async_nats::Client;
use protocol::subject::JETSTREAM_API;
use serde_json::json;
use stories::{Database, System};

use super::{NO_ANSWER, ROLES, admin, is_stored, stream_state, wait_for_effects};

/// Subjects on which no role may publish, and where an answer would do harm.
const TARGETS: [&str; 14] = [
    "$JS.API.STREAM.PURGE.CHAT_0",
    "$JS.API.STREAM.DELETE.CHAT_0",
    "$JS.API.STREAM.UPDATE.CHAT_0",
    "$JS.API.STREAM.CREATE.EVIL",
    "$JS.API.STREAM.MSG.DELETE.CHAT_0",
    "$JS.API.STREAM.PURGE.KV_revoked",
    "$JS.API.STREAM.DELETE.KV_revoked",
    "$JS.API.STREAM.DELETE.KV_purged",
    "$JS.API.CONSUMER.DELETE.CHAT_0.archive",
    "$JS.API.CONSUMER.CREATE.CHAT_0",
    "$JS.API.CONSUMER.MSG.NEXT.CHAT_0.archive",
    "$KV.revoked.session.evil",
    "$KV.files.evil.evil",
    "$KV.purged.evil",
];

/// Whether the role may publish on the subject itself, so that an answer there gives it nothing new.
fn is_own(role: &str, target: &str) -> bool {
    match role {
        "functions" => target.starts_with("$KV.revoked") || target.starts_with("$KV.files"),
        "archive" => target.starts_with("$KV."),
        _ => false,
    }
}

/// Stored payloads that are valid requests of JetStream's API.
fn payloads() -> Vec<(&'static str, String)> {
    let update = json!({ "name": "CHAT_0", "subjects": ["chat.0.in.*"], "max_msgs": 1 });
    let create = json!({ "name": "EVIL", "subjects": ["evil"] });
    let push = json!({ "stream_name": "CHAT_0", "config": {
        "deliver_subject": "$JS.API.STREAM.PURGE.CHAT_0", "ack_policy": "none", "mem_storage": true,
    }});
    vec![
        ("empty", String::new()),
        ("object", "{}".to_owned()),
        ("seq", r#"{"seq":1}"#.to_owned()),
        ("update", update.to_string()),
        ("create", create.to_string()),
        ("push", push.to_string()),
    ]
}

/// Every request that any role may send, also under the original names of JetStream's API.
fn requests(payload: &str) -> Vec<(String, String)> {
    let last = format!(r#"{{"last_by_subj":"chat.0.in.{payload}"}}"#);
    let multi = format!(r#"{{"multi_last":["chat.0.in.{payload}"]}}"#);
    let batch = format!(r#"{{"seq":1,"next_by_subj":"chat.0.in.{payload}","batch":5}}"#);
    let mut requests: Vec<(String, String)> = [last, multi, batch]
        .into_iter()
        .map(|body| ("$JS.API.DIRECT.GET.CHAT_0".to_owned(), body))
        .collect();
    requests.push((format!("$JS.API.DIRECT.GET.CHAT_0.chat.0.in.{payload}"), String::new()));
    for prefix in ["$JS.API", JETSTREAM_API] {
        for request in ["STREAM.INFO.CHAT_0", "CONSUMER.INFO.CHAT_0.archive"] {
            requests.push((format!("{prefix}.{request}"), String::new()));
        }
    }
    for subject in ["chat.sent.x", "chat.online.x", "chat.live.x", "chat.gateway.x"] {
        requests.push((subject.to_owned(), String::new()));
    }
    requests
}

async fn send(client: &Client, (subject, body): (String, String), reply: &str) {
    client.publish_with_reply(subject, reply.to_owned(), body.into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirected_answers_change_nothing() {
    let system = System::new(Database::Sqlite).await;
    let admin = admin(&system).await;
    let functions = system.nats_as("functions").await;
    assert!(is_stored(&functions, "$KV.revoked.session.x", &[], "now").await);
    let gateway = system.nats_as("gateway").await;
    for (name, payload) in payloads() {
        // A header that marks a request as coming from another account.
        let account = ("Nats-Request-Info", r#"{"acc":"CHAT","svc":"CHAT"}"#);
        assert!(is_stored(&gateway, &format!("chat.0.in.{name}"), &[account], &payload).await);
    }
    let before = stream_state(&admin).await;
    for role in ROLES {
        let client = system.nats_as(role).await;
        for target in TARGETS.into_iter().filter(|target| !is_own(role, target)) {
            for (payload, _) in payloads() {
                for request in requests(payload) {
                    send(&client, request, target).await;
                }
            }
        }
        client.flush().await.unwrap();
        wait_for_effects().await;
        assert_eq!(stream_state(&admin).await, before, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirected_acknowledgements_change_nothing() {
    let system = System::new(Database::Sqlite).await;
    let admin = admin(&system).await;
    for role in ROLES {
        let client = system.nats_as(role).await;
        for target in TARGETS.into_iter().filter(|target| !is_own(role, target)) {
            // The server refuses the message, so only its answer could do harm.
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-Expected-Last-Sequence", "999999");
            let (subject, reply) = ("chat.0.in.x".to_owned(), target.to_owned());
            let sent = client.publish_with_reply_and_headers(subject, reply, headers, "{}".into());
            sent.await.unwrap();
        }
        let before = stream_state(&admin).await;
        client.flush().await.unwrap();
        wait_for_effects().await;
        assert_eq!(stream_state(&admin).await, before, "{role}");
        // A message that is stored: the stream has one more, and nothing else changes.
        for target in TARGETS.into_iter().filter(|target| !is_own(role, target)) {
            send(&client, ("chat.0.in.x".to_owned(), "{}".to_owned()), target).await;
        }
        client.flush().await.unwrap();
        wait_for_effects().await;
        let stream = admin.get_stream("CHAT_0").await.unwrap();
        let state = &stream.cached_info().state;
        assert_eq!((state.first_sequence, state.messages), (1, state.last_sequence), "{role}");
        let (mut before, mut after) = (before, stream_state(&admin).await);
        before.remove("CHAT_0");
        after.remove("CHAT_0");
        assert_eq!(after, before, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirected_answers_of_the_archive_change_nothing() {
    let system = System::new(Database::Sqlite).await;
    let admin = admin(&system).await;
    let archive = system.nats_as("archive").await;
    for (name, payload) in payloads() {
        assert!(is_stored(&archive, &format!("chat.0.in.{name}"), &[], &payload).await);
    }
    let before = stream_state(&admin).await;
    for target in TARGETS.into_iter().filter(|target| !is_own("archive", target)) {
        for prefix in ["$JS.API", JETSTREAM_API] {
            let next = format!("{prefix}.CONSUMER.MSG.NEXT.CHAT_0.archive");
            send(&archive, (next, r#"{"batch":10,"no_wait":true}"#.to_owned()), target).await;
            let purge = format!("{prefix}.STREAM.PURGE.CHAT_0");
            send(&archive, (purge, r#"{"filter":"chat.0.in.none"}"#.to_owned()), target).await;
        }
        let ack = "$JS.ACK.CHAT_0.archive.1.1.1.1.0".to_owned();
        send(&archive, (ack, "+NXT 10".to_owned()), target).await;
    }
    archive.flush().await.unwrap();
    wait_for_effects().await;
    assert_eq!(stream_state(&admin).await, before);
}

/// With `allow_responses`, one user of an account could make another one publish anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_cannot_redirect_its_own_answers() {
    let system = System::new(Database::Sqlite).await;
    let admin = admin(&system).await;
    let (one, other) = (system.nats_as("gateway").await, system.nats_as("gateway").await);
    let listening = system.start_gateway().await;
    let ada = system.user("ada").await;
    let room = ada.create_room("lobby").await;
    let (mut socket, _) = ada.join(&listening, "lobby").await;
    let mut heard = other.subscribe("chat.live.x").await.unwrap();
    other.flush().await.unwrap();
    let before = stream_state(&admin).await;
    let out = format!("chat.0.out.{room}");
    for target in TARGETS.into_iter().chain([out.as_str()]) {
        let request = loop {
            send(&one, ("chat.live.x".to_owned(), String::new()), target).await;
            let heard = tokio::time::timeout(NO_ANSWER, futures_util::StreamExt::next(&mut heard));
            if let Ok(request) = heard.await {
                break request.unwrap();
            }
        };
        other.publish(request.reply.unwrap(), "{}".into()).await.unwrap();
    }
    other.flush().await.unwrap();
    wait_for_effects().await;
    assert_eq!(stream_state(&admin).await, before);
    let seq = ada.post_message("lobby", "the only one").await;
    assert_eq!(socket.expect("receive-msg").await["seq"], seq);
}

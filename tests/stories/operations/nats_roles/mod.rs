//! The permissions of each role in infra/nats/nats.conf, tested with direct publishes and with publishes by the server.

mod consumers;
mod headers;
mod reply_subjects;

use std::{collections::BTreeMap, time::Duration};

use async_nats::{
    Client, Subject, Subscriber,
    jetstream::{self, Context},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use protocol::subject::JETSTREAM_API;
use serde_json::{Value, json};
use stories::{Database, System};

/// How long to wait for an answer or an effect that must not come. The server drops a message without
/// permission and reports nothing to this client, so only time shows that nothing happens.
const NO_ANSWER: Duration = Duration::from_millis(700);
/// All roles but `provision`, which may do everything in JetStream.
const ROLES: [&str; 3] = ["gateway", "functions", "archive"];

/// Whether the server answers a request without an error.
async fn is_answered(client: &Client, subject: &str, body: &str) -> bool {
    let request = client.request(subject.to_owned(), body.to_owned().into());
    let Ok(Ok(message)) = tokio::time::timeout(NO_ANSWER, request).await else { return false };
    let json: Option<Value> = serde_json::from_slice(&message.payload).ok();
    json.is_none_or(|json| json.get("error").is_none())
}

/// Publishes a message; returns whether it was stored.
async fn is_stored(client: &Client, subject: &str, headers: &[(&str, &str)], body: &str) -> bool {
    let mut map = async_nats::HeaderMap::new();
    headers.iter().for_each(|(name, value)| map.append(*name, *value));
    let request = client.request_with_headers(subject.to_owned(), map, body.to_owned().into());
    let Ok(Ok(message)) = tokio::time::timeout(NO_ANSWER, request).await else { return false };
    let ack: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
    ack["seq"].as_u64().is_some_and(|seq| seq > 0) && ack.get("error").is_none()
}

/// Gives the server time to have an effect, so that its absence means something.
async fn wait_for_effects() {
    tokio::time::sleep(NO_ANSWER).await;
}

async fn admin(system: &System) -> Context {
    jetstream::new(system.nats_as("provision").await)
}

/// The state that an attack must not change: the configuration, content and consumers of every stream.
async fn stream_state(admin: &Context) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for name in admin.stream_names().try_collect::<Vec<String>>().await.unwrap() {
        let stream = admin.get_stream(&name).await.unwrap();
        let jetstream::stream::Info { config, state, .. } = stream.cached_info().clone();
        let held = json!([state.messages, state.first_sequence, state.last_sequence, state.bytes]);
        let consumers = stream.consumers().map_ok(|consumer| (consumer.name, consumer.config));
        let consumers: BTreeMap<_, _> = consumers.try_collect().await.unwrap();
        all.insert(name, json!({ "config": config, "held": held, "consumers": consumers }));
    }
    assert!(all.len() >= 4, "a stream and three buckets: {all:?}");
    all
}

/// Requests to the JetStream API and to subjects that a role must not reach: client, subject, and body.
async fn forbidden_requests(system: &System) -> Vec<(async_nats::Client, String, &'static str)> {
    let mut requests = Vec::new();
    for role in ROLES {
        let client = system.nats_as(role).await;
        for (subject, body) in [
            ("STREAM.DELETE.CHAT_0", ""),
            ("STREAM.UPDATE.CHAT_0", r#"{"name":"CHAT_0","subjects":["chat.0.in.*"]}"#),
            ("STREAM.CREATE.X", r#"{"name":"X","subjects":["x"]}"#),
            ("STREAM.MSG.DELETE.CHAT_0", r#"{"seq":1}"#),
            ("STREAM.MSG.GET.CHAT_0", r#"{"seq":1}"#),
            ("STREAM.SNAPSHOT.CHAT_0", r#"{"deliver_subject":"x"}"#),
            ("STREAM.PURGE.KV_revoked", "{}"),
            ("STREAM.PURGE.KV_files", "{}"),
            ("STREAM.PURGE.KV_purged", "{}"),
            ("STREAM.DELETE.KV_purged", ""),
            ("STREAM.UPDATE.KV_purged", "{}"),
            ("CONSUMER.DELETE.CHAT_0.archive", ""),
            ("CONSUMER.PAUSE.CHAT_0.archive", r#"{"pause_until":"2999-01-01T00:00:00Z"}"#),
        ] {
            for prefix in ["$JS.API", JETSTREAM_API] {
                requests.push((client.clone(), format!("{prefix}.{subject}"), body));
            }
        }
    }
    for (role, subjects) in [
        (
            "gateway",
            &[
                "$KV.revoked.room.x",
                "$KV.files.x.y",
                "$KV.purged.x",
                "chat.0.dead.x",
                "chat.online.x",
                "$JS.API.STREAM.PURGE.CHAT_0",
                "$JS.API.CONSUMER.MSG.NEXT.CHAT_0.archive",
            ][..],
        ),
        (
            "functions",
            &["$KV.purged.x", "chat.0.read.x.y", "chat.sent.x", "$JS.API.STREAM.PURGE.CHAT_0"],
        ),
        ("archive", &["chat.0.read.x.y", "chat.online.x", "chat.sent.x"]),
    ] {
        let client = system.nats_as(role).await;
        for subject in subjects {
            requests.push((client.clone(), (*subject).to_owned(), "{}"));
        }
    }
    requests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_has_exactly_its_permissions() {
    let system = System::new(Database::Sqlite).await;
    let admin = admin(&system).await;
    let (gateway, functions, archive) = (
        system.nats_as("gateway").await,
        system.nats_as("functions").await,
        system.nats_as("archive").await,
    );
    assert!(is_stored(&gateway, "chat.0.in.x", &[], "{}").await);
    assert!(is_stored(&gateway, "chat.0.read.x.y", &[], "{}").await);
    assert!(is_stored(&functions, "chat.0.in.x", &[], "{}").await);
    assert!(is_stored(&functions, "$KV.revoked.room.x", &[], "now").await);
    assert!(is_stored(&functions, "$KV.files.x.y", &[], "{}").await);
    for subject in ["chat.0.in.x", "$KV.revoked.room.x", "$KV.files.x.y", "$KV.purged.x"] {
        assert!(is_stored(&archive, subject, &[], "7").await, "{subject}");
    }
    for (client, streams) in [
        (&gateway, &["CHAT_0", "KV_revoked", "KV_files", "KV_purged"][..]),
        (&functions, &["CHAT_0", "KV_purged"]),
        (&archive, &["CHAT_0", "KV_purged"]),
    ] {
        for stream in streams {
            let subject = format!("$JS.API.DIRECT.GET.{stream}");
            assert!(is_answered(client, &subject, r#"{"seq":1}"#).await, "{stream}");
        }
    }
    for request in ["STREAM.INFO.CHAT_0", "CONSUMER.INFO.CHAT_0.archive"] {
        assert!(
            is_answered(&archive, &format!("{JETSTREAM_API}.{request}"), "").await,
            "{request}"
        );
    }
    assert!(system.archive_once().await > 0);
    let before = stream_state(&admin).await;
    let requests = forbidden_requests(&system).await;
    let refused = requests.iter().map(async |(client, subject, body)| {
        assert!(!is_answered(client, subject, body).await, "{subject}");
    });
    futures_util::future::join_all(refused).await;
    assert_eq!(stream_state(&admin).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_an_older_release_is_protected() {
    let system = System::new(Database::Sqlite).await;
    let admin = admin(&system).await;
    for bucket in ["revoked", "files", "purged"] {
        admin.delete_stream(format!("KV_{bucket}")).await.unwrap();
        // As a client creates it, and as earlier releases did.
        let older = jetstream::kv::Config { bucket: bucket.to_owned(), ..Default::default() };
        admin.create_key_value(older).await.unwrap();
    }
    let archive = system.nats_as("archive").await;
    assert!(is_stored(&archive, "$KV.revoked.room.x", &[], "now").await);
    system.provision().await;
    let before = stream_state(&admin).await;
    for bucket in ["revoked", "files", "purged"] {
        let mut stream = admin.get_stream(format!("KV_{bucket}")).await.unwrap();
        assert!(stream.purge().await.is_err(), "{bucket}");
        let config = &stream.info().await.unwrap().config;
        assert!(config.deny_purge && config.deny_delete && !config.allow_rollup, "{bucket}");
    }
    assert_eq!(stream_state(&admin).await, before);
    system.provision().await;
    assert_eq!(stream_state(&admin).await, before, "repeating it changes nothing");
}

/// Asks until the subscription exists and receives the question; returns its reply subject.
async fn asked(functions: &Client, questions: &mut Subscriber) -> Subject {
    for attempt in 0.. {
        let reply = format!("_INBOX_functions.asked.{attempt}");
        functions.publish_with_reply("chat.online.x", reply, "?".into()).await.unwrap();
        if let Ok(question) = tokio::time::timeout(NO_ANSWER, questions.next()).await {
            return question.unwrap().reply.unwrap();
        }
    }
    unreachable!("attempts do not end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_answers_only_the_questioner_once() {
    let system = System::new(Database::Sqlite).await;
    let (gateway, functions) = (system.nats_as("gateway").await, system.nats_as("functions").await);
    let mut questions = gateway.subscribe("chat.online.x").await.unwrap();
    let answers = functions.subscribe("_INBOX_functions.>").await.unwrap();
    let reply = asked(&functions, &mut questions).await;
    for (inbox, answer) in
        [("_INBOX_functions.other", "forged"), (&reply, "answer"), (&reply, "again")]
    {
        gateway.publish(inbox.to_owned(), answer.into()).await.unwrap();
    }
    // The server itself answered the questions before the subscription existed: no responders.
    let mut answers = answers.filter(|answer| std::future::ready(answer.status.is_none()));
    let answer = tokio::time::timeout(stories::DEADLINE, answers.next()).await.unwrap().unwrap();
    assert_eq!(answer.payload, "answer");
    let more = tokio::time::timeout(NO_ANSWER, answers.next()).await;
    assert!(!matches!(more, Ok(Some(_))), "{more:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_role_can_subscribe_to_foreign_subjects() {
    let system = System::new(Database::Sqlite).await;
    let ada = system.user("ada").await;
    let mut overheard = Vec::new();
    for (role, subjects) in [
        ("gateway", &["_INBOX_functions.>", "_INBOX_archive.>", "$KV.>", "chat.0.in.*", ">"][..]),
        ("functions", &["chat.*.out.*", "chat.revoked.>", "chat.live.*", "_INBOX_gateway.>", ">"]),
        ("archive", &["chat.*.out.*", "chat.revoked.>", "chat.0.in.*", "_INBOX_functions.>", ">"]),
        ("provision", &["chat.*.out.*", "chat.revoked.>", "chat.0.in.*", "$KV.>", ">"]),
    ] {
        let client = system.nats_as(role).await;
        for subject in subjects {
            overheard.push((role, *subject, client.subscribe(*subject).await.unwrap()));
        }
        client.flush().await.unwrap();
        // The barrier: the answer to a later request shows that the server has the subscriptions.
        is_answered(&client, "chat.gateway.x", "").await;
    }
    // Traffic of every kind: stored, republished, revoked, asked and answered.
    let gateway = system.start_gateway().await;
    ada.create_room("lobby").await;
    let (mut socket, _) = ada.join(&gateway, "lobby").await;
    ada.post_message("lobby", "hello").await;
    socket.expect("receive-msg").await;
    ada.get("/room/lobby/member").await.ok();
    assert_eq!(ada.delete("/room/lobby").await.status, 204);
    socket.expect("room-deleted").await;
    system.archive_once().await;
    for (role, subject, mut heard) in overheard {
        let heard = tokio::time::timeout(Duration::from_millis(100), heard.next()).await;
        assert!(!matches!(heard, Ok(Some(_))), "{role} {subject}: {heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_about_sent_messages_are_answered_by_functions_and_archive() {
    let mut system = System::new(Database::Sqlite).await;
    let ada = system.user("ada").await;
    let subject = format!("chat.sent.{}", ada.create_room("lobby").await);
    let question = format!(r#"{{"author":"{}","id":"{}"}}"#, ada.id, uuid::Uuid::new_v4());
    let gateway = system.nats_as("gateway").await;
    let answer = async || {
        let request = gateway.request(subject.clone(), question.clone().into());
        let answer = tokio::time::timeout(stories::DEADLINE, request).await.unwrap();
        answer.ok().map(|answer| answer.payload)
    };
    assert_eq!(answer().await.unwrap(), r#""not-sent""#, "by the functions");
    system.stop_functions();
    stories::eventually("nobody to answer", async || answer().await.is_none().then_some(())).await;
    system.start_archive();
    let answered = stories::eventually("the archive to answer", answer).await;
    assert_eq!(answered, r#""not-sent""#);
    // Only the responders receive the questions of gateways.
    let mut overheard = gateway.subscribe("chat.sent.*").await.unwrap();
    gateway.flush().await.unwrap();
    answer().await.unwrap();
    let heard = tokio::time::timeout(NO_ANSWER, overheard.next()).await;
    assert!(!matches!(heard, Ok(Some(_))), "{heard:?}");
}

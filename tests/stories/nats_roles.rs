//! What infra/nats/nats.conf lets each role do, and what not.

use std::time::Duration;

use async_nats::{Client, Subject, Subscriber};
use futures_util::StreamExt as _;
use stories::{Database, World};

/// A request that the server does not allow is never answered.
const NO_ANSWER: Duration = Duration::from_millis(700);

async fn is_answered(client: &Client, subject: &str, body: &str) -> bool {
    let request = client.request(subject.to_owned(), body.to_owned().into());
    matches!(tokio::time::timeout(NO_ANSWER, request).await, Ok(Ok(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_can_read_and_add_but_never_remove_revoke_or_consume() {
    let world = World::new(Database::Sqlite).await;
    let gateway = world.nats_as("gateway").await;
    assert!(is_answered(&gateway, "$JS.API.STREAM.INFO.CHAT_0", "").await);
    for (subject, body) in [
        ("$JS.API.STREAM.PURGE.CHAT_0", "{}"),
        ("$JS.API.STREAM.DELETE.CHAT_0", ""),
        ("$JS.API.STREAM.MSG.DELETE.CHAT_0", r#"{"seq":1}"#),
        ("$KV.revoked.room.x", "now"),
        ("$JS.API.CONSUMER.CREATE.CHAT_0", r#"{"stream_name":"CHAT_0","config":{}}"#),
        ("$JS.API.CONSUMER.MSG.NEXT.CHAT_0.archive", "1"),
    ] {
        assert!(!is_answered(&gateway, subject, body).await, "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_can_revoke_but_consume_and_purge_nothing() {
    let world = World::new(Database::Sqlite).await;
    let functions = world.nats_as("functions").await;
    assert!(is_answered(&functions, "$KV.revoked.room.x", "now").await);
    for (subject, body) in [
        ("$JS.API.STREAM.PURGE.KV_revoked", "{}"),
        ("$JS.API.STREAM.PURGE.CHAT_0", "{}"),
        ("$JS.API.CONSUMER.CREATE.CHAT_0", r#"{"stream_name":"CHAT_0","config":{}}"#),
    ] {
        assert!(!is_answered(&functions, subject, body).await, "{subject}");
    }
}

/// Asks until it is heard, for a subscription is not there at once; where the answer is to go.
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
async fn a_gateway_answers_who_asked_it_once_and_no_other() {
    let world = World::new(Database::Sqlite).await;
    let (gateway, functions) = (world.nats_as("gateway").await, world.nats_as("functions").await);
    let mut questions = gateway.subscribe("chat.online.x").await.unwrap();
    let answers = functions.subscribe("_INBOX_functions.>").await.unwrap();
    let reply = asked(&functions, &mut questions).await;
    for (inbox, answer) in
        [("_INBOX_functions.other", "forged"), (&reply, "answer"), (&reply, "again")]
    {
        gateway.publish(inbox.to_owned(), answer.into()).await.unwrap();
    }
    // What was asked before the gateway listened, the server answered: that nobody does.
    let mut answers = answers.filter(|answer| std::future::ready(answer.status.is_none()));
    let answer = tokio::time::timeout(stories::SOON, answers.next()).await.unwrap().unwrap();
    assert_eq!(answer.payload, "answer");
    let more = tokio::time::timeout(NO_ANSWER, answers.next()).await;
    assert!(!matches!(more, Ok(Some(_))), "{more:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_role_hears_the_answers_to_another() {
    let world = World::new(Database::Sqlite).await;
    let (gateway, functions) = (world.nats_as("gateway").await, world.nats_as("functions").await);
    let mut overheard = gateway.subscribe("_INBOX_functions.>").await.unwrap();
    let mut rooms = functions.subscribe("chat.*.out.*").await.unwrap();
    gateway.flush().await.unwrap();
    functions.flush().await.unwrap();
    assert!(is_answered(&functions, "$JS.API.STREAM.INFO.CHAT_0", "").await);
    world.user("ada").await.create_room("lobby").await;
    for subscription in [&mut overheard, &mut rooms] {
        let heard = tokio::time::timeout(NO_ANSWER, subscription.next()).await;
        assert!(!matches!(heard, Ok(Some(_))), "{heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_is_asked_by_gateways_and_answered_by_those_with_a_database() {
    let mut world = World::new(Database::Sqlite).await;
    let ada = world.user("ada").await;
    let subject = format!("chat.sent.{}", ada.create_room("lobby").await);
    let question = format!(r#"{{"author":"{}","id":"{}"}}"#, ada.id, uuid::Uuid::new_v4());
    let gateway = world.nats_as("gateway").await;
    let answer = async || {
        let request = gateway.request(subject.clone(), question.clone().into());
        let answer = tokio::time::timeout(stories::SOON, request).await.unwrap();
        answer.ok().map(|answer| answer.payload)
    };
    assert_eq!(answer().await.unwrap(), r#""not-sent""#, "by the functions");
    world.stop_functions();
    stories::eventually("nobody to answer", async || answer().await.is_none().then_some(())).await;
    world.start_archive();
    let answered = stories::eventually("the archive to answer", answer).await;
    assert_eq!(answered, r#""not-sent""#);
    // Only they hear what gateways ask.
    let mut overheard = gateway.subscribe("chat.sent.*").await.unwrap();
    gateway.flush().await.unwrap();
    answer().await.unwrap();
    let heard = tokio::time::timeout(NO_ANSWER, overheard.next()).await;
    assert!(!matches!(heard, Ok(Some(_))), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_archive_marks_what_is_purged_and_nobody_unmarks_it() {
    let world = World::new(Database::Sqlite).await;
    let archive = world.nats_as("archive").await;
    assert!(is_answered(&archive, "$KV.purged.x", "7").await);
    for role in ["gateway", "functions"] {
        let other = world.nats_as(role).await;
        assert!(!is_answered(&other, "$KV.purged.x", "8").await, "{role}");
        let mark = r#"{"last_by_subj":"$KV.purged.x"}"#;
        let mark = other.request("$JS.API.DIRECT.GET.KV_purged", mark.into()).await.unwrap();
        assert_eq!(mark.payload, "7", "{role}");
    }
    for (subject, body) in [
        ("$JS.API.STREAM.PURGE.KV_purged", "{}"),
        ("$JS.API.STREAM.DELETE.KV_purged", ""),
        ("$JS.API.STREAM.UPDATE.KV_purged", "{}"),
        ("$JS.API.CONSUMER.CREATE.KV_purged.archive", r#"{"stream_name":"KV_purged","config":{}}"#),
    ] {
        assert!(!is_answered(&archive, subject, body).await, "{subject}");
    }
}

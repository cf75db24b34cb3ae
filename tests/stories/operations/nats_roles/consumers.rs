//! Attacks with consumers: a push consumer delivers stored payloads to any subject with the server's rights.

use protocol::subject::JETSTREAM_API;
use serde_json::json;
use stories::{Database, System};

use super::{ROLES, admin, is_answered, is_stored, stream_state, wait_for_effects};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_release_step_changes_consumers() {
    let system = System::new(Database::Sqlite).await;
    let admin = admin(&system).await;
    let functions = system.nats_as("functions").await;
    assert!(is_stored(&functions, "$KV.revoked.session.x", &[], "{}").await);
    assert!(is_stored(&functions, "chat.0.in.x", &[], "{}").await);
    let before = stream_state(&admin).await;
    for role in ROLES {
        let client = system.nats_as(role).await;
        for stream in ["CHAT_0", "KV_revoked", "KV_files", "KV_purged"] {
            for deliver in ["$JS.API.STREAM.PURGE.CHAT_0", "$JS.API.STREAM.DELETE.KV_revoked"] {
                for name in ["archive", "evil"] {
                    let push = json!({ "stream_name": stream, "config": {
                        "name": name, "deliver_subject": deliver, "ack_policy": "none",
                        "deliver_policy": "all",
                    }});
                    for prefix in ["$JS.API", JETSTREAM_API] {
                        for subject in [
                            format!("{prefix}.CONSUMER.CREATE.{stream}"),
                            format!("{prefix}.CONSUMER.CREATE.{stream}.{name}"),
                            format!("{prefix}.CONSUMER.CREATE.{stream}.{name}.chat.0.in.x"),
                            format!("{prefix}.CONSUMER.DURABLE.CREATE.{stream}.{name}"),
                        ] {
                            let body = push.to_string();
                            client.publish(subject, body.into()).await.unwrap();
                        }
                    }
                }
            }
        }
        client.flush().await.unwrap();
        wait_for_effects().await;
        assert_eq!(stream_state(&admin).await, before, "{role}");
        let pull = json!({ "stream_name": "CHAT_0", "config": { "durable_name": "archive" } });
        for prefix in ["$JS.API", JETSTREAM_API] {
            let subject = format!("{prefix}.CONSUMER.CREATE.CHAT_0.archive");
            assert!(!is_answered(&client, &subject, &pull.to_string()).await, "{role}");
        }
    }
    assert_eq!(stream_state(&admin).await, before);
}

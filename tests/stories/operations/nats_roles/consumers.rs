//! Consumers: a push consumer would deliver stored payloads to any subject, with the server's rights.

use protocol::subject::JETSTREAM_API;
use serde_json::json;
use stories::{Database, World};

use super::{NO_ANSWER, ROLES, admin, everything, is_answered, is_stored};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_the_release_step_makes_or_changes_a_consumer() {
    let world = World::new(Database::Sqlite).await;
    let admin = admin(&world).await;
    let functions = world.nats_as("functions").await;
    assert!(is_stored(&functions, "$KV.revoked.session.x", &[], "{}").await);
    assert!(is_stored(&functions, "chat.0.in.x", &[], "{}").await);
    let before = everything(&admin).await;
    for role in ROLES {
        let client = world.nats_as(role).await;
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
        tokio::time::sleep(NO_ANSWER).await;
        assert_eq!(everything(&admin).await, before, "{role}");
        let pull = json!({ "stream_name": "CHAT_0", "config": { "durable_name": "archive" } });
        for prefix in ["$JS.API", JETSTREAM_API] {
            let subject = format!("{prefix}.CONSUMER.CREATE.CHAT_0.archive");
            assert!(!is_answered(&client, &subject, &pull.to_string()).await, "{role}");
        }
    }
    assert_eq!(everything(&admin).await, before);
}

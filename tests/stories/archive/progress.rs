//! The archive makes progress on a busy stream, beside another archive, beside a shard that fails, and
//! within one call.

use std::time::Duration;

use protocol::{
    RoomId, Timestamp,
    stored::{Person, StoredEvent},
    subject::Shards,
};
use serde_json::json;
use stories::{System, User, eventually, stories};
use tokio_util::sync::CancellationToken;

/// Stores notices in a room until the token is cancelled.
fn keep_storing_notices(
    system: &System,
    room: RoomId,
    user: &User,
) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let stop = CancellationToken::new();
    let (stopped, from) = (stop.clone(), Person { id: user.id, name: "Ada".parse().unwrap() });
    let config = system.config(|env| service::nats::NatsConfig::from_env(env, "functions"));
    let going = tokio::spawn(async move {
        let client = service::nats::connect(&config, |_| {}).await.unwrap();
        let log = service::roomlog::RoomLog::new(client, Shards::new(1).unwrap());
        while !stopped.is_cancelled() {
            let (from, at) = (from.clone(), Timestamp::now());
            let event = StoredEvent::RoomBroadcast { from, msg: "busy".parse().unwrap(), at };
            let id = uuid::Uuid::now_v7().to_string();
            let pending = log.append(room, &id, event.encode().into(), None).await.unwrap();
            pending.stored().await.unwrap();
            // The pace: fast enough that the archive always has something to do.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    (stop, going)
}

/// An SQL expression for a time in the past.
fn ago(system: &System, minutes: u32) -> String {
    if system.is_postgres() {
        format!("now() - interval '{minutes} minutes'")
    } else {
        format!("strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-{minutes} minutes')")
    }
}

stories! {
    async fn accounts_are_erased_while_the_stream_is_busy(system: System) {
        let mut system = system;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        bob.enter("lobby").await;
        bob.post_message("lobby", "mine").await;
        let (stop, going) = keep_storing_notices(&system, room, &ada);
        system.start_archive();
        assert_eq!(
            bob.delete_with("/user", json!({ "password": stories::PASSWORD })).await.status,
            204
        );
        let deleted = format!(
            "UPDATE account SET deleted_at = {} WHERE deleted_at IS NOT NULL",
            ago(&system, 2)
        );
        assert_eq!(system.execute(&deleted).await, 1);
        eventually("the account to be erased", || async {
            (system.count("SELECT COUNT(*) FROM account WHERE erased_at IS NOT NULL").await == 1)
                .then_some(())
        })
        .await;
        stop.cancel();
        going.await.unwrap();
        let page = ada.get("/room/lobby/message").await.ok();
        assert_eq!(page["items"][0]["from"]["name"], "deleted user");
    }

    async fn two_busy_archives_record_the_progress_of_rooms(system: System) {
        let mut system = system;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (stop, going) = keep_storing_notices(&system, room, &ada);
        system.start_archive();
        let another = system.config(archive::Config::from_env);
        let ended = CancellationToken::new();
        let another = tokio::spawn(archive::follow(another, ended.clone()));
        for _ in 0..3 {
            let said = ada.post_message("lobby", "said").await as i64;
            eventually("the room to be archived past it", || async {
                let archived =
                    system.count("SELECT COALESCE(MAX(archived_seq), 0) FROM room_log").await;
                (archived >= said).then_some(())
            })
            .await;
            assert!(!going.is_finished());
        }
        stop.cancel();
        going.await.unwrap();
        // The exact position, once nothing is left to move.
        let last = ada.post_message("lobby", "last").await as i64;
        eventually("all to be archived", || async {
            let archived =
                system.count("SELECT COALESCE(MAX(archived_seq), 0) FROM room_log").await;
            (archived == last).then_some(())
        })
        .await;
        ended.cancel();
        another.await.unwrap().unwrap();
    }

    async fn one_call_archives_everything(system: System) {
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        system.append_messages(room, ada.id, 5_000).await;
        assert_eq!(system.archive_once().await, 5_001);
        assert_eq!(system.count_messages().await, 5_000);
    }

    async fn a_failing_shard_does_not_block_the_others(system: System) {
        let mut system = system;
        system.set_variable("CHAT_SHARDS", "2");
        system.set_variable("STREAM_MAX_BYTES", "100000000");
        system.provision().await;
        let base = system.start_functions().await;
        let ada = system.user("ada").await.at(&base);
        // One room in each shard.
        let shards = Shards::new(2).unwrap();
        let mut rooms = [None, None];
        for n in 0.. {
            let (name, index) = (format!("room{n}"), |room| {
                usize::from(shards.of(room) != shards.all().next().unwrap())
            });
            let room = ada.create_room(&name).await;
            rooms[index(room)].get_or_insert(name);
            if rooms.iter().all(Option::is_some) {
                break;
            }
        }
        let [failing, working] = rooms.map(Option::unwrap);
        ada.post_message(&failing, "not archived").await;
        ada.post_message(&working, "archived").await;
        let admin = async_nats::jetstream::new(system.nats_as("provision").await);
        admin.delete_consumer_from_stream("archive", "CHAT_0").await.unwrap();
        let doomed = format!(
            "INSERT INTO doomed_object (object_key, doomed_at) VALUES ('rooms/nothing', {})",
            ago(&system, 1)
        );
        system.execute(&doomed).await;

        let failed = system.try_archive_once().await.unwrap_err();
        assert!(
            format!("{failed:#}").contains("no consumer on CHAT_0: run `provision`"),
            "{failed:#}"
        );
        assert_eq!(system.count_messages().await, 1, "of the other shard");
        assert_eq!(
            system.count("SELECT COUNT(*) FROM doomed_object WHERE due_at IS NOT NULL").await,
            1,
            "swept"
        );

        // A following archive does the same and finds the consumer once it exists again.
        system.start_archive();
        ada.post_message(&working, "archived too").await;
        eventually("the other shard", || async {
            (system.count_messages().await == 2).then_some(())
        })
        .await;
        system.provision().await;
        eventually("both", || async { (system.count_messages().await == 3).then_some(()) }).await;
    }
}

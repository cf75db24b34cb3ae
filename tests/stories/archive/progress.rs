//! The archive makes progress: on a busy stream, beside another archive, beside a shard that fails, and
//! within one call.

use std::time::Duration;

use protocol::{
    RoomId, Timestamp,
    stored::{Person, StoredEvent},
    subject::Shards,
};
use serde_json::json;
use stories::{User, World, eventually, stories};
use tokio_util::sync::CancellationToken;

/// Notices of a room, as fast as they are stored, until told to stop.
fn bustle(
    world: &World,
    room: RoomId,
    user: &User,
) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let stop = CancellationToken::new();
    let (stopped, from) = (stop.clone(), Person { id: user.id, name: "Ada".parse().unwrap() });
    let config = world.read(|env| service::nats::NatsConfig::from_env(env, "functions"));
    let going = tokio::spawn(async move {
        let client = service::nats::connect(&config, |_| {}).await.unwrap();
        let log = service::roomlog::RoomLog::new(client, Shards::new(1).unwrap());
        while !stopped.is_cancelled() {
            let (from, at) = (from.clone(), Timestamp::now());
            let event = StoredEvent::RoomBroadcast { from, msg: "busy".parse().unwrap(), at };
            let id = uuid::Uuid::now_v7().to_string();
            let pending = log.append(room, &id, event.encode().into(), None).await.unwrap();
            pending.stored().await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    (stop, going)
}

/// A moment in the database's own words.
fn ago(world: &World, minutes: u32) -> String {
    if world.is_postgres() {
        format!("now() - interval '{minutes} minutes'")
    } else {
        format!("strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-{minutes} minutes')")
    }
}

stories! {
    async fn deleted_accounts_are_erased_while_the_stream_is_busy(world: World) {
        let mut world = world;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        bob.enter("lobby").await;
        bob.say("lobby", "mine").await;
        let (stop, going) = bustle(&world, room, &ada);
        world.start_archive();
        assert_eq!(bob.delete_with("/user", json!({ "password": stories::PASSWORD })).await.status, 204);
        let deleted = format!("UPDATE account SET deleted_at = {} WHERE deleted_at IS NOT NULL", ago(&world, 2));
        assert_eq!(world.sql(&deleted).await, 1);
        eventually("the account to be erased", || async {
            (world.count("SELECT COUNT(*) FROM account WHERE erased_at IS NOT NULL").await == 1).then_some(())
        }).await;
        stop.cancel();
        going.await.unwrap();
        let page = ada.get("/room/lobby/message").await.ok();
        assert_eq!(page["items"][0]["from"]["name"], "deleted user");
    }

    async fn two_archives_say_how_far_rooms_are_while_both_are_busy(world: World) {
        let mut world = world;
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (stop, going) = bustle(&world, room, &ada);
        world.start_archive();
        let another = world.read(archive::Config::from_env);
        let ended = CancellationToken::new();
        let another = tokio::spawn(archive::follow(another, ended.clone()));
        for _ in 0..3 {
            let said = ada.say("lobby", "said").await as i64;
            eventually("the room to be archived past it", || async {
                let archived = world.count("SELECT COALESCE(MAX(archived_seq), 0) FROM room_log").await;
                (archived >= said).then_some(())
            }).await;
            assert!(!going.is_finished());
        }
        stop.cancel();
        going.await.unwrap();
        // All of it, once there is nothing more to do.
        let last = ada.say("lobby", "last").await as i64;
        eventually("all to be archived", || async {
            let archived = world.count("SELECT COALESCE(MAX(archived_seq), 0) FROM room_log").await;
            (archived == last).then_some(())
        }).await;
        ended.cancel();
        another.await.unwrap().unwrap();
    }

    async fn one_call_moves_all_there_is(world: World) {
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        world.append_messages(room, ada.id, 5_000).await;
        assert_eq!(world.archive_once().await, 5_001);
        assert_eq!(world.count_messages().await, 5_000);
    }

    async fn a_shard_that_fails_keeps_nothing_from_the_others(world: World) {
        let mut world = world;
        world.set("CHAT_SHARDS", "2");
        world.set("STREAM_MAX_BYTES", "100000000");
        world.provision().await;
        let base = world.functions().await;
        let ada = world.user("ada").await.at(&base);
        // One room of each shard.
        let shards = Shards::new(2).unwrap();
        let mut rooms = [None, None];
        for n in 0.. {
            let (name, index) = (format!("room{n}"), |room| usize::from(shards.of(room) != shards.all().next().unwrap()));
            let room = ada.create_room(&name).await;
            rooms[index(room)].get_or_insert(name);
            if rooms.iter().all(Option::is_some) {
                break;
            }
        }
        let [failing, working] = rooms.map(Option::unwrap);
        ada.say(&failing, "not archived").await;
        ada.say(&working, "archived").await;
        let admin = async_nats::jetstream::new(world.nats_as("provision").await);
        admin.delete_consumer_from_stream("archive", "CHAT_0").await.unwrap();
        let doomed = format!("INSERT INTO doomed_object (object_key, doomed_at) VALUES ('rooms/nothing', {})", ago(&world, 1));
        world.sql(&doomed).await;

        let failed = world.try_archive_once().await.unwrap_err();
        assert!(format!("{failed:#}").contains("no consumer on CHAT_0: run `provision`"), "{failed:#}");
        assert_eq!(world.count_messages().await, 1, "of the other shard");
        assert_eq!(world.count("SELECT COUNT(*) FROM doomed_object WHERE due_at IS NOT NULL").await, 1, "swept");

        // And so does one that follows; it finds the consumer when it is there again.
        world.start_archive();
        ada.say(&working, "archived too").await;
        eventually("the other shard", || async { (world.count_messages().await == 2).then_some(()) }).await;
        world.provision().await;
        eventually("both", || async { (world.count_messages().await == 3).then_some(()) }).await;
    }
}

//! The same id by the same user in the same room is stored once and answers the first seq, through
//! any door and however late it comes again.

use std::time::Duration;

use protocol::{
    MessageId, RoomId, Timestamp,
    stored::{Message, Person, StoredEvent},
};
use serde_json::{Value, json};
use stories::{Gateway, Socket, User, World, eventually, stories};
use uuid::{NoContext, Uuid};

/// A UUIDv7 that was made so many seconds ago, or will be.
fn made(seconds_ago: i64) -> Uuid {
    let made = (Timestamp::now().unix() - seconds_ago) as u64;
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, made, 0))
}

/// Ids that say nothing of when they were sent first, or that it was too long ago for JetStream.
fn late_ids() -> [Uuid; 4] {
    [Uuid::new_v4(), made(3_600), made(-86_400), Uuid::max()]
}

async fn archive_all(world: &World) {
    while world.archive_once().await > 0 {}
}

/// Sends by HTTP: seq, time, and whether it was there before.
async fn post(user: &User, id: Uuid, msg: &str) -> (Value, Value, bool) {
    let sent = user.post("/room/lobby/message", json!({ "id": id, "msg": msg })).await;
    assert_eq!(sent.status, 201, "{}", sent.body);
    answered(&sent.body)
}

/// The same by a socket.
async fn emit(socket: &mut Socket, room: RoomId, id: Uuid, msg: &str) -> (Value, Value, bool) {
    let sent = socket.ok("send-msg", json!({ "roomId": room, "id": id, "msg": msg })).await;
    answered(&sent)
}

fn answered(sent: &Value) -> (Value, Value, bool) {
    (sent["seq"].clone(), sent["at"].clone(), sent["duplicate"].as_bool().unwrap())
}

/// Everybody retries everything, through every door, after JetStream has forgotten it.
async fn retry(
    world: &World,
    user: &User,
    doors: &[&Gateway],
    room: RoomId,
    all: &[(Uuid, (Value, Value, bool))],
) {
    world.forget_message_ids().await;
    for (id, (seq, at, _)) in all {
        let first = (seq.clone(), at.clone(), true);
        assert_eq!(post(user, *id, "again").await, first, "{id} by HTTP");
        for gateway in doors {
            let (mut socket, _) = user.join(gateway, "lobby").await;
            assert_eq!(emit(&mut socket, room, *id, "again").await, first, "{id} by a socket");
        }
    }
}

/// Sends by a new socket, without the functions.
async fn ask(gateway: &Gateway, user: &User, world: &World, room: RoomId, id: Uuid) -> Value {
    let mut socket = user.connect(gateway).await;
    let ticket = world.ticket(user, room, protocol::Role::Owner);
    let data = json!({ "roomId": room, "userId": user.id, "ticket": ticket });
    socket.ok("join-room", data).await;
    socket.call("send-msg", json!({ "roomId": room, "id": id, "msg": "again" })).await
}

/// The seqs of a page.
fn seqs(page: &Value) -> Vec<Value> {
    page["items"].as_array().unwrap().iter().map(|item| item["seq"].clone()).collect()
}

stories! {
    async fn a_retry_answers_the_first_however_late_it_comes(world: World) {
        let mut world = world;
        world.set("REPLAY_WINDOW_SECONDS", "0");
        let (near, far) = (world.gateway().await, world.gateway().await);
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut listener, _) = bob.join(&near, "lobby").await;
        let (mut socket, _) = ada.join(&near, "lobby").await;
        let mut all = Vec::new();
        for id in late_ids() {
            all.push((id, post(&ada, id, "by HTTP").await));
        }
        for id in late_ids().into_iter().take(3) {
            all.push((id, emit(&mut socket, room, id, "by a socket").await));
        }
        assert!(all.iter().all(|(_, (.., duplicate))| !duplicate), "{all:?}");

        // In the stream alone, behind more than one page of other events.
        for _ in 0..300 {
            let by = Person { id: bob.id, name: "bob".parse().unwrap() };
            let (emoji, at) = ("👍".parse().unwrap(), Timestamp::now());
            let target = all[1].1.0.as_u64().unwrap().try_into().unwrap();
            world.append(room, StoredEvent::Reaction { target, emoji, on: true, by, at }).await;
        }
        retry(&world, &ada, &[&near, &far], room, &all).await;
        // Deleted messages were sent as well.
        socket.ok("delete-msg", json!({ "roomId": room, "seq": all[0].1.0 })).await;
        retry(&world, &ada, &[&far], room, &all[..1]).await;
        // In the database, and no more in the stream.
        let newest = json!(bob.say("lobby", "newest").await);
        archive_all(&world).await;
        assert_eq!(world.events_in_stream(room).await, 1);
        retry(&world, &ada, &[&near, &far], room, &all).await;

        let expected = all.iter().map(|(_, (seq, ..))| seq.clone()).chain([newest]);
        let expected: Vec<Value> = expected.collect();
        assert_eq!(seqs(&ada.get("/room/lobby/message").await.ok()), expected);
        archive_all(&world).await;
        assert_eq!(world.count_messages().await, expected.len() as i64);
        // Whoever listened heard each once, and nothing else was stored.
        socket.ok("send-msg", json!({ "roomId": room, "msg": "the end" })).await;
        let mut heard = Vec::new();
        loop {
            let event = listener.expect("receive-msg").await;
            if event["msg"] == "the end" {
                break;
            }
            heard.push(event["seq"].clone());
        }
        assert_eq!(heard, expected);
    }

    async fn an_id_of_somebody_else_or_in_another_room_is_no_retry(world: World) {
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let other = ada.create_room("other").await;
        bob.enter("lobby").await;
        let id = Uuid::new_v4();
        let (first, _, _) = post(&ada, id, "ada's").await;
        let (second, _, duplicate) = post(&bob, id, "bob's").await;
        assert!(!duplicate && first != second);
        let mut socket = ada.connect(&gateway).await;
        socket.ok("join-room", ada.join_data("other", None).await).await;
        let (third, _, duplicate) = emit(&mut socket, other, id, "elsewhere").await;
        assert!(!duplicate && third != first);
        archive_all(&world).await;
        assert_eq!(world.count_messages().await, 3);
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        world.forget_message_ids().await;
        assert_eq!(emit(&mut socket, room, id, "bob's again").await.0, second);
    }

    async fn with_nobody_to_ask_an_old_id_is_refused_and_later_stored_once(world: World) {
        let mut world = world;
        let gateway = world.gateway().await;
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let before = Uuid::new_v4();
        let first = post(&ada, before, "sent before").await;
        world.stop_functions();
        let new = made(3_600);
        // An id of its own each time: the functions may still have answered the one before.
        eventually("nobody to answer", async || {
            let asked = ask(&gateway, &ada, &world, room, Uuid::new_v4()).await;
            (asked["error"]["code"] == "unavailable").then_some(())
        }).await;
        for id in [before, new] {
            socket.refused("send-msg", json!({ "roomId": room, "id": id, "msg": "again" }), "unavailable").await;
        }
        // What needs no look-up goes on.
        for data in [json!({ "roomId": room, "msg": "no id" }), json!({ "roomId": room, "id": made(0), "msg": "a new id" })] {
            assert_eq!(socket.ok("send-msg", data).await["duplicate"], false);
        }
        world.start_archive();
        let stored = eventually("the archive to answer", async || {
            let sent = ask(&gateway, &ada, &world, room, new).await;
            (sent["ok"] == true).then_some(sent)
        }).await;
        assert_eq!(emit(&mut socket, room, before, "again").await, (first.0, first.1, true));
        world.forget_message_ids().await;
        assert_eq!(emit(&mut socket, room, new, "again").await.0, stored["seq"]);
        // Those refused were not stored: both kinds are there once.
        let events = world.events(room).await;
        let count = |id: Uuid| events.iter().filter(|event| matches!(event, StoredEvent::ReceiveMsg(message) if message.id == MessageId::from(id))).count();
        assert_eq!((count(before), count(new)), (1, 1));
    }

    async fn old_and_new_ids_of_one_socket_keep_their_order(world: World) {
        let gateway = world.gateway().await;
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let mut acks = Vec::new();
        for index in 0..30 {
            let id = if index % 3 == 0 { Uuid::new_v4() } else { made(0) };
            let data = json!({ "roomId": room, "id": id, "msg": index.to_string() });
            acks.push(socket.emit("send-msg", data).await);
        }
        let mut last = 0;
        for ack in acks {
            let sent = socket.ack(ack).await;
            assert_eq!(sent["ok"], true, "{sent}");
            let seq = sent["seq"].as_u64().unwrap();
            assert!(seq > last, "{seq} after {last}");
            last = seq;
        }
    }

    /// What an older version stored twice, as the archive and every reader meet it.
    async fn what_the_stream_holds_twice_is_shown_once(world: World) {
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        let message = |msg: &str, id: MessageId| {
            let (from, at) = (Person { id: ada.id, name: "ada".parse().unwrap() }, Timestamp::now());
            let (file, reply_to) = (None, None);
            StoredEvent::ReceiveMsg(Message { id, from, msg: msg.parse().unwrap(), at, file, reply_to })
        };
        let (twice, once) = (MessageId::generate(), MessageId::generate());
        for event in [message("first", twice), message("between", once), message("first", twice)] {
            world.append(room, event).await;
        }
        let shown = async || {
            let pages = ["/room/lobby/message", "/room/lobby/message?after=0", "/room/lobby/message/search?q=first"];
            let mut shown = Vec::new();
            for page in pages {
                let page = ada.get(page).await.ok();
                let texts = page["items"].as_array().unwrap().iter().map(|item| item["msg"].as_str().unwrap().to_owned());
                shown.push(texts.collect::<Vec<_>>().join(" "));
            }
            shown
        };
        assert_eq!(shown().await, ["first between", "first between", "first"], "from the stream");
        archive_all(&world).await;
        assert_eq!(world.count_messages().await, 2);
        assert_eq!(shown().await, ["first between", "first between", "first"], "from the database");
        world.append(room, message("first", twice)).await;
        assert_eq!(shown().await, ["first between", "first between", "first"], "from both");
        let page = ada.get("/room/lobby/message?limit=2").await.ok();
        assert_eq!((seqs(&page).len(), &page["next"]), (2, &Value::Null), "it takes no place of a page");
        archive_all(&world).await;
        assert_eq!(world.count_messages().await, 2);
    }

    async fn a_database_that_holds_messages_twice_is_migrated_to_the_first(world: World) {
        let ada = world.user("ada").await;
        ada.create_room("lobby").await;
        for text in ["a", "b", "c"] {
            ada.say("lobby", text).await;
        }
        archive_all(&world).await;
        world.sql("DROP INDEX message_sent_key").await;
        let columns = "room_id, seq, id, author_id, author_name, msg, file, reply_to, at, parts";
        let copied = format!(
            "INSERT INTO message ({columns}) SELECT {} FROM message WHERE msg <> 'b'",
            columns.replace("seq", "seq + 1000"),
        );
        assert_eq!(world.sql(&copied).await, 2);
        let reacted = "INSERT INTO reaction (room_id, target, emoji, user_id, seq, is_on)
            SELECT room_id, seq, '👍', author_id, seq % 1000, TRUE FROM message WHERE msg <> 'b'";
        assert_eq!(world.sql(reacted).await, 4);
        world.sql("DROP TABLE publish_budget").await;
        world.sql("DELETE FROM _sqlx_migrations WHERE version = 7").await;
        world.provision().await;
        assert_eq!(world.count_messages().await, 3);
        assert_eq!(world.count("SELECT COUNT(*) FROM message WHERE seq > 1000").await, 0);
        assert_eq!(world.count("SELECT COUNT(*) FROM reaction").await, 2);
        assert!(tokio::time::timeout(Duration::from_secs(5), ada.say("lobby", "on")).await.is_ok());
    }
}

//! A message id of a user in a room is an idempotency key: a retry over HTTP or a socket, however late, is
//! answered with the first seq and stored once.

use protocol::{
    MessageId, RoomId, Timestamp,
    stored::{Person, StoredEvent},
};
use serde_json::{Value, json};
use stories::{Gateway, Socket, System, User, eventually, stories};
use uuid::{NoContext, Uuid};

/// A UUIDv7 with a time that lies this many seconds in the past, or in the future if negative.
fn uuid_made(seconds_ago: i64) -> Uuid {
    let made = (Timestamp::now().unix() - seconds_ago) as u64;
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, made, 0))
}

/// Ids without a time, or with a time outside the dedupe window of JetStream.
fn late_ids() -> [Uuid; 4] {
    [Uuid::new_v4(), uuid_made(3_600), uuid_made(-86_400), Uuid::max()]
}

async fn archive_all(system: &System) {
    while system.archive_once().await > 0 {}
}

/// Sends over HTTP: seq, time, and whether it is a duplicate.
async fn post(user: &User, id: Uuid, msg: &str) -> (Value, Value, bool) {
    let sent = user.post("/room/lobby/message", json!({ "id": id, "msg": msg })).await;
    assert_eq!(sent.status, 201, "{}", sent.body);
    answered(&sent.body)
}

/// The same over a socket.
async fn emit(socket: &mut Socket, room: RoomId, id: Uuid, msg: &str) -> (Value, Value, bool) {
    let sent = socket.ok("send-msg", json!({ "roomId": room, "id": id, "msg": msg })).await;
    answered(&sent)
}

fn answered(sent: &Value) -> (Value, Value, bool) {
    (sent["seq"].clone(), sent["at"].clone(), sent["duplicate"].as_bool().unwrap())
}

/// Retries every message over HTTP and sockets after the dedupe window.
async fn retry(
    system: &System,
    user: &User,
    doors: &[&Gateway],
    room: RoomId,
    all: &[(Uuid, (Value, Value, bool))],
) {
    system.expire_dedupe_window().await;
    for (id, (seq, at, _)) in all {
        let first = (seq.clone(), at.clone(), true);
        assert_eq!(post(user, *id, "again").await, first, "{id} by HTTP");
        for gateway in doors {
            let (mut socket, _) = user.join(gateway, "lobby").await;
            assert_eq!(emit(&mut socket, room, *id, "again").await, first, "{id} by a socket");
        }
    }
}

/// Sends over a new socket with a ticket that is signed here.
async fn ask(gateway: &Gateway, user: &User, system: &System, room: RoomId, id: Uuid) -> Value {
    let mut socket = user.connect(gateway).await;
    let ticket = system.ticket(user, room, protocol::Role::Owner);
    let data = json!({ "roomId": room, "userId": user.id, "ticket": ticket });
    socket.ok("join-room", data).await;
    socket.call("send-msg", json!({ "roomId": room, "id": id, "msg": "again" })).await
}

/// The seqs of a page.
fn seqs(page: &Value) -> Vec<Value> {
    page["items"].as_array().unwrap().iter().map(|item| item["seq"].clone()).collect()
}

stories! {
    async fn a_late_retry_returns_the_first_message(system: System) {
        let mut system = system;
        system.set_variable("REPLAY_WINDOW_SECONDS", "0");
        let (near, far) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
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

        // Only in the stream, before more than one page of other events.
        for _ in 0..300 {
            let by = Person { id: bob.id, name: "bob".parse().unwrap() };
            let (emoji, at) = ("👍".parse().unwrap(), Timestamp::now());
            let target = all[1].1.0.as_u64().unwrap().try_into().unwrap();
            system
                .append_event(room, StoredEvent::Reaction { target, emoji, on: true, by, at })
                .await;
        }
        retry(&system, &ada, &[&near, &far], room, &all).await;
        // A deleted message is still a duplicate.
        socket.ok("delete-msg", json!({ "roomId": room, "seq": all[0].1.0 })).await;
        retry(&system, &ada, &[&far], room, &all[..1]).await;
        // Only in the database.
        let newest = json!(bob.post_message("lobby", "newest").await);
        archive_all(&system).await;
        assert_eq!(system.count_stored_events(room).await, 1);
        retry(&system, &ada, &[&near, &far], room, &all).await;

        let expected = all.iter().map(|(_, (seq, ..))| seq.clone()).chain([newest]);
        let expected: Vec<Value> = expected.collect();
        assert_eq!(seqs(&ada.get("/room/lobby/message").await.ok()), expected);
        archive_all(&system).await;
        assert_eq!(system.count_messages().await, expected.len() as i64);
        // The listener received each message once, and nothing else was stored.
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

    async fn ids_of_others_and_of_other_rooms_are_no_retries(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
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
        archive_all(&system).await;
        assert_eq!(system.count_messages().await, 3);
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        system.expire_dedupe_window().await;
        assert_eq!(emit(&mut socket, room, id, "bob's again").await.0, second);
    }

    async fn old_ids_are_refused_while_nothing_answers_the_look_up(system: System) {
        let mut system = system;
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let before = Uuid::new_v4();
        let first = post(&ada, before, "sent before").await;
        system.stop_functions();
        let new = uuid_made(3_600);
        // A new id for each attempt: the functions may still have answered the one before.
        eventually("nobody to answer", async || {
            let asked = ask(&gateway, &ada, &system, room, Uuid::new_v4()).await;
            (asked["error"]["code"] == "unavailable").then_some(())
        })
        .await;
        for id in [before, new] {
            socket
                .refused(
                    "send-msg",
                    json!({ "roomId": room, "id": id, "msg": "again" }),
                    "unavailable",
                )
                .await;
        }
        // A message whose id needs no look-up is still stored.
        for data in [
            json!({ "roomId": room, "msg": "no id" }),
            json!({ "roomId": room, "id": uuid_made(0), "msg": "a new id" }),
        ] {
            assert_eq!(socket.ok("send-msg", data).await["duplicate"], false);
        }
        system.start_archive();
        let stored = eventually("the archive to answer", async || {
            let sent = ask(&gateway, &ada, &system, room, new).await;
            (sent["ok"] == true).then_some(sent)
        })
        .await;
        assert_eq!(emit(&mut socket, room, before, "again").await, (first.0, first.1, true));
        system.expire_dedupe_window().await;
        assert_eq!(emit(&mut socket, room, new, "again").await.0, stored["seq"]);
        // The refused messages were not stored: there is one message of each kind.
        let events = system.stored_events(room).await;
        let has_id = |event: &StoredEvent, id: Uuid| match event {
            StoredEvent::ReceiveMsg(message) => message.id == MessageId::from(id),
            _ => false,
        };
        let count = |id: Uuid| events.iter().filter(|event| has_id(event, id)).count();
        assert_eq!((count(before), count(new)), (1, 1));
    }

    async fn old_and_new_ids_of_a_socket_keep_their_order(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let mut acks = Vec::new();
        for index in 0..30 {
            let id = if index % 3 == 0 { Uuid::new_v4() } else { uuid_made(0) };
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
}

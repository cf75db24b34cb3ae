//! A stream that one user filled takes events again by itself while the archive works, whatever kind of
//! event filled it.

use protocol::{
    RoomId, Timestamp, UserId,
    stored::{Person, ReadMark, StoredEvent},
    subject::{self, Shards},
};
use serde_json::{Value, json};
use stories::{User, World, eventually, stories};

const STREAM_BYTES: &str = "400000";

/// A world whose stream is small, with two rooms: one to be filled, one of somebody else.
struct Stage {
    world: World,
    ada: User,
    bob: User,
    noisy: RoomId,
    quiet: RoomId,
    /// The first message of the noisy room.
    first: u64,
}

impl Stage {
    async fn set(mut world: World) -> Self {
        world.set("STREAM_MAX_BYTES", STREAM_BYTES);
        world.provision().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let (noisy, quiet) = (ada.create_room("noisy").await, bob.create_room("quiet").await);
        let first = ada.say("noisy", "first").await;
        Self { world, ada, bob, noisy, quiet, first }
    }

    fn stored(&self) -> String {
        subject::stored(Shards::new(1).unwrap(), self.noisy)
    }

    /// Publishes what `make` makes until the stream takes no more.
    async fn fill(&self, make: impl Fn(u64) -> (String, Vec<u8>)) -> Vec<u64> {
        let context = async_nats::jetstream::new(self.world.nats_as("gateway").await);
        let mut seqs = Vec::new();
        for n in 0..20_000 {
            let (subject, payload) = make(n);
            let stored = context.publish(subject, payload.into()).await.unwrap().await;
            match stored {
                Ok(ack) => seqs.push(ack.sequence),
                Err(_) => return seqs,
            }
        }
        unreachable!("the stream is bounded");
    }

    async fn send(&self, user: &User, room: &str, msg: &str) -> Option<u64> {
        let body = json!({ "id": uuid::Uuid::now_v7(), "msg": msg });
        let sent = user.post(&format!("/room/{room}/message"), body).await;
        if sent.status != 201 {
            sent.problem(503, "storage-full");
            return None;
        }
        sent.ok()["seq"].as_u64()
    }

    /// It is full, the archive works, and everybody can send again.
    async fn recovers(mut self) -> Self {
        let long = "\u{1F44D}".repeat(4000);
        assert_eq!(self.send(&self.bob, "quiet", &long).await, None, "full");
        self.world.start_archive();
        eventually("space in the stream", || self.send(&self.bob, "quiet", &long)).await;
        let gateway = self.world.gateway().await;
        let (mut socket, joined) = self.ada.join(&gateway, "noisy").await;
        let sent = socket.ok("send-msg", json!({ "roomId": self.noisy, "msg": "after" })).await;
        let event = socket.expect_where("receive-msg", |data| data["msg"] == "after").await;
        assert_eq!((&event["seq"], &event["prev"]), (&sent["seq"], &joined["head"]));
        // Who was there before the purge must page; the pages are whole.
        let mut again = self.ada.connect(&gateway).await;
        let join = self.ada.join_data("noisy", Some(self.first)).await;
        assert_eq!(again.ok("join-room", join).await["recovered"], false);
        let page = self.ada.get("/room/noisy/message").await.ok();
        let items = page["items"].as_array().unwrap();
        let ends = (&items[0]["seq"], &items[items.len() - 1]["msg"]);
        assert_eq!(ends, (&json!(self.first), &json!("after")));
        self
    }
}

fn person(user: &User) -> Person {
    Person { id: user.id, name: "Ada".parse().unwrap() }
}

stories! {
    async fn of_notices_only(world: World) {
        let stage = Stage::set(world).await;
        let (subject, from) = (stage.stored(), person(&stage.ada));
        let msg: protocol::MessageText = "\u{1F44D}".repeat(4000).parse().unwrap();
        let filled = stage.fill(|_| {
            let (from, msg, at) = (from.clone(), msg.clone(), Timestamp::now());
            (subject.clone(), StoredEvent::RoomBroadcast { from, msg, at }.encode())
        }).await;
        assert!(filled.len() < 40, "big ones");
        stage.recovers().await;
    }

    async fn of_reactions_only(world: World) {
        let stage = Stage::set(world).await;
        let (subject, by, target) = (stage.stored(), person(&stage.ada), stage.first.try_into().unwrap());
        stage.fill(|n| {
            let (emoji, by, at) = ("👍".parse().unwrap(), by.clone(), Timestamp::now());
            let on = n % 2 == 0;
            (subject.clone(), StoredEvent::Reaction { target, emoji, on, by, at }.encode())
        }).await;
        stage.recovers().await;
    }

    async fn of_joins_and_leaves_only(world: World) {
        let stage = Stage::set(world).await;
        let subject = stage.stored();
        stage.fill(|n| {
            let (user, at) = (Person { id: UserId::generate(), name: "Eve".parse().unwrap() }, Timestamp::now());
            let event = if n % 2 == 0 { StoredEvent::MemberJoined { user, at } } else { StoredEvent::MemberLeft { user, at } };
            (subject.clone(), event.encode())
        }).await;
        stage.recovers().await;
    }

    async fn of_edits_only(world: World) {
        let stage = Stage::set(world).await;
        let (subject, by, target) = (stage.stored(), stage.ada.id, stage.first.try_into().unwrap());
        let filled = stage.fill(|n| {
            let (msg, at) = (format!("{n} {}", "y".repeat(3900)).parse().unwrap(), Timestamp::now());
            (subject.clone(), StoredEvent::MsgEdited { target, msg, by, at }.encode())
        }).await;
        let stage = stage.recovers().await;
        // And the last edit is what counts.
        let page = stage.ada.get("/room/noisy/message").await.ok();
        let last = format!("{} ", filled.len() - 1);
        assert!(page["items"][0]["msg"].as_str().unwrap().starts_with(&last));
    }

    async fn of_read_marks_only(world: World) {
        let mut stage = Stage::set(world).await;
        let (room, shards) = (stage.noisy, Shards::new(1).unwrap());
        stage.fill(|_| {
            let subject = subject::read(shards, room, UserId::generate());
            (subject, ReadMark { seq: 1.into() }.encode())
        }).await;
        let long = "\u{1F44D}".repeat(4000);
        assert_eq!(stage.send(&stage.bob, "quiet", &long).await, None, "full");
        stage.world.start_archive();
        eventually("space in the stream", || stage.send(&stage.bob, "quiet", &long)).await;
    }

    async fn of_rooms_that_do_not_exist_or_are_no_rooms(world: World) {
        let mut stage = Stage::set(world).await;
        stage.fill(|n| {
            let room = RoomId::generate();
            let token = if n % 2 == 0 { room.to_string() } else { format!("no-room-{n}") };
            let from = person(&stage.ada);
            let (msg, at) = ("z".repeat(3900).parse().unwrap(), Timestamp::now());
            (format!("chat.0.in.{token}"), StoredEvent::RoomBroadcast { from, msg, at }.encode())
        }).await;
        let long = "\u{1F44D}".repeat(4000);
        assert_eq!(stage.send(&stage.bob, "quiet", &long).await, None, "full");
        stage.world.start_archive();
        eventually("space in the stream", || stage.send(&stage.bob, "quiet", &long)).await;
    }

    async fn of_nothing_but_the_newest_events_of_many_rooms(world: World) {
        let mut stage = Stage::set(world).await;
        let long = "\u{1F44D}".repeat(4000);
        let mut last = (String::new(), 0);
        for n in 0..60 {
            let name = format!("room-{n}");
            stage.ada.create_room(&name).await;
            match stage.send(&stage.ada, &name, &long).await {
                Some(seq) => last = (name, seq),
                None => break,
            }
        }
        assert_eq!(stage.send(&stage.bob, "quiet", &long).await, None, "full");
        let (name, seq) = last;
        let gateway = stage.world.gateway().await;
        let (mut there, _) = stage.ada.join(&gateway, &name).await;
        stage.world.start_archive();
        eventually("space in the stream", || stage.send(&stage.bob, "quiet", &long)).await;
        // Whoever was there goes on without a gap, and who comes joins where the room is.
        let fresh = stage.world.gateway().await;
        let mut new = stage.ada.connect(&fresh).await;
        let joined = new.ok("join-room", stage.ada.join_data(&name, Some(seq)).await).await;
        assert_eq!((&joined["recovered"], &joined["head"]), (&json!(true), &json!(seq)));
        let next = eventually("space", || stage.send(&stage.ada, &name, "next")).await;
        for socket in [&mut there, &mut new] {
            let event = socket.expect_where("receive-msg", |data| data["msg"] == "next").await;
            assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(seq)));
        }
        let page = stage.ada.get(&format!("/room/{name}/message")).await.ok();
        let seqs: Vec<u64> = page["items"].as_array().unwrap().iter().map(seq_of).collect();
        assert_eq!(seqs, [seq, next]);
    }

    async fn the_biggest_room_pays_and_others_keep_their_replays(world: World) {
        let mut stage = Stage::set(world).await;
        let mut quiet: Vec<u64> = Vec::new();
        for n in 0..5 {
            quiet.push(stage.bob.say("quiet", &n.to_string()).await);
        }
        stage.world.start_archive();
        let (subject, from) = (stage.stored(), person(&stage.ada));
        // Ten times what the stream holds, as fast as it is taken.
        for n in 0..250 {
            let msg = "\u{1F44D}".repeat(4000).parse().unwrap();
            let event = StoredEvent::RoomBroadcast { from: from.clone(), msg, at: Timestamp::now() };
            let payload = event.encode();
            eventually("space in the stream", || stage.world.publish_raw(subject.clone(), payload.clone())).await;
            assert!(n < 250);
        }
        let gateway = stage.world.gateway().await;
        let mut socket = stage.bob.connect(&gateway).await;
        let joined = socket.ok("join-room", stage.bob.join_data("quiet", Some(quiet[0])).await).await;
        assert_eq!(joined["recovered"], true);
        let replayed: Vec<u64> = socket.stored().into_iter().map(|(_, seq, _)| seq).collect();
        assert_eq!(replayed, quiet[1..]);
        assert_eq!(stage.world.events_in_stream(stage.quiet).await, 6);
    }

    async fn pages_are_whole_while_the_stream_is_purged_under_them(world: World) {
        let mut stage = Stage::set(world).await;
        // Full from the first event on: every look at it purges all that is archived.
        stage.world.set("STREAM_MAX_BYTES", "65000");
        stage.world.provision().await;
        stage.world.start_archive();
        let mut said = vec![stage.first];
        for n in 0..150 {
            let text = n.to_string();
            let seq = eventually("space", || stage.send(&stage.ada, "noisy", &text)).await;
            said.push(seq);
            let after = said[said.len().saturating_sub(20)];
            let page = stage.ada.get(&format!("/room/noisy/message?limit=200&after={after}")).await;
            assert!(!page.headers.contains_key("x-history"), "all of it");
            let page: Vec<u64> = page.ok()["items"].as_array().unwrap().iter().map(seq_of).collect();
            let expected: Vec<u64> = said.iter().copied().filter(|seq| *seq > after).collect();
            assert_eq!(page, expected);
        }
    }
}

fn seq_of(item: &Value) -> u64 {
    item["seq"].as_u64().unwrap()
}

//! A stream that one user has filled accepts events again once the archive works, whatever kind of event
//! filled it.

use protocol::{
    RoomId, Timestamp, UserId,
    stored::{Person, ReadMark, StoredEvent},
    subject::{self, Shards},
};
use serde_json::{Value, json};
use stories::{System, User, eventually, stories};

const STREAM_BYTES: &str = "400000";

/// A system with a small stream and two rooms: one that is flooded, and a quiet one of another user.
struct SmallStream {
    system: System,
    ada: User,
    bob: User,
    noisy: RoomId,
    quiet: RoomId,
    /// The first message of the flooded room.
    first: u64,
}

impl SmallStream {
    async fn new(mut system: System) -> Self {
        system.set_variable("STREAM_MAX_BYTES", STREAM_BYTES);
        system.provision().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let (noisy, quiet) = (ada.create_room("noisy").await, bob.create_room("quiet").await);
        let first = ada.post_message("noisy", "first").await;
        Self { system, ada, bob, noisy, quiet, first }
    }

    fn stored(&self) -> String {
        subject::stored(Shards::new(1).unwrap(), self.noisy)
    }

    /// Publishes the payloads of `make` until the stream refuses them.
    async fn fill(&self, make: impl Fn(u64) -> (String, Vec<u8>)) -> Vec<u64> {
        let context = async_nats::jetstream::new(self.system.nats_as("gateway").await);
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

    /// Asserts that the stream is full, runs the archive, and asserts that everybody can send again.
    async fn recovers(mut self) -> Self {
        let long = "\u{1F44D}".repeat(4000);
        assert_eq!(self.send(&self.bob, "quiet", &long).await, None, "full");
        self.system.start_archive();
        eventually("space in the stream", || self.send(&self.bob, "quiet", &long)).await;
        let gateway = self.system.start_gateway().await;
        let (mut socket, joined) = self.ada.join(&gateway, "noisy").await;
        let sent = socket.ok("send-msg", json!({ "roomId": self.noisy, "msg": "after" })).await;
        let event = socket.expect_where("receive-msg", |data| data["msg"] == "after").await;
        assert_eq!((&event["seq"], &event["prev"]), (&sent["seq"], &joined["head"]));
        // A client from before the purge must read pages, and the pages are complete.
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
    async fn filled_with_notices(system: System) {
        let fixture = SmallStream::new(system).await;
        let (subject, from) = (fixture.stored(), person(&fixture.ada));
        let msg: protocol::MessageText = "\u{1F44D}".repeat(4000).parse().unwrap();
        let filled = fixture
            .fill(|_| {
                let (from, msg, at) = (from.clone(), msg.clone(), Timestamp::now());
                (subject.clone(), StoredEvent::RoomBroadcast { from, msg, at }.encode())
            })
            .await;
        assert!(filled.len() < 40, "big ones");
        fixture.recovers().await;
    }

    async fn filled_with_reactions(system: System) {
        let fixture = SmallStream::new(system).await;
        let (subject, by, target) =
            (fixture.stored(), person(&fixture.ada), fixture.first.try_into().unwrap());
        fixture
            .fill(|n| {
                let (emoji, by, at) = ("👍".parse().unwrap(), by.clone(), Timestamp::now());
                let on = n % 2 == 0;
                (subject.clone(), StoredEvent::Reaction { target, emoji, on, by, at }.encode())
            })
            .await;
        fixture.recovers().await;
    }

    async fn filled_with_joins_and_leaves(system: System) {
        let fixture = SmallStream::new(system).await;
        let subject = fixture.stored();
        fixture
            .fill(|n| {
                let (user, at) = (
                    Person { id: UserId::generate(), name: "Eve".parse().unwrap() },
                    Timestamp::now(),
                );
                let event = if n % 2 == 0 {
                    StoredEvent::MemberJoined { user, at }
                } else {
                    StoredEvent::MemberLeft { user, at }
                };
                (subject.clone(), event.encode())
            })
            .await;
        fixture.recovers().await;
    }

    async fn filled_with_edits(system: System) {
        let fixture = SmallStream::new(system).await;
        let (subject, by, target) =
            (fixture.stored(), fixture.ada.id, fixture.first.try_into().unwrap());
        let filled = fixture
            .fill(|n| {
                let (msg, at) =
                    (format!("{n} {}", "y".repeat(3900)).parse().unwrap(), Timestamp::now());
                (subject.clone(), StoredEvent::MsgEdited { target, msg, by, at }.encode())
            })
            .await;
        let fixture = fixture.recovers().await;
        // The last edit counts.
        let page = fixture.ada.get("/room/noisy/message").await.ok();
        let last = format!("{} ", filled.len() - 1);
        assert!(page["items"][0]["msg"].as_str().unwrap().starts_with(&last));
    }

    async fn filled_with_read_marks(system: System) {
        let mut fixture = SmallStream::new(system).await;
        let (room, shards) = (fixture.noisy, Shards::new(1).unwrap());
        fixture
            .fill(|_| {
                let subject = subject::read(shards, room, UserId::generate());
                (subject, ReadMark { seq: 1.into() }.encode())
            })
            .await;
        let long = "\u{1F44D}".repeat(4000);
        assert_eq!(fixture.send(&fixture.bob, "quiet", &long).await, None, "full");
        fixture.system.start_archive();
        eventually("space in the stream", || fixture.send(&fixture.bob, "quiet", &long)).await;
    }

    async fn filled_with_events_of_unknown_rooms(system: System) {
        let mut fixture = SmallStream::new(system).await;
        fixture
            .fill(|n| {
                let room = RoomId::generate();
                let token = if n % 2 == 0 { room.to_string() } else { format!("no-room-{n}") };
                let from = person(&fixture.ada);
                let (msg, at) = ("z".repeat(3900).parse().unwrap(), Timestamp::now());
                (
                    format!("chat.0.in.{token}"),
                    StoredEvent::RoomBroadcast { from, msg, at }.encode(),
                )
            })
            .await;
        let long = "\u{1F44D}".repeat(4000);
        assert_eq!(fixture.send(&fixture.bob, "quiet", &long).await, None, "full");
        fixture.system.start_archive();
        eventually("space in the stream", || fixture.send(&fixture.bob, "quiet", &long)).await;
    }

    async fn filled_with_newest_events_of_many_rooms(system: System) {
        let mut fixture = SmallStream::new(system).await;
        let long = "\u{1F44D}".repeat(4000);
        let mut last = (String::new(), 0);
        for n in 0..60 {
            let name = format!("room-{n}");
            fixture.ada.create_room(&name).await;
            match fixture.send(&fixture.ada, &name, &long).await {
                Some(seq) => last = (name, seq),
                None => break,
            }
        }
        assert_eq!(fixture.send(&fixture.bob, "quiet", &long).await, None, "full");
        let (name, seq) = last;
        let gateway = fixture.system.start_gateway().await;
        let (mut there, _) = fixture.ada.join(&gateway, &name).await;
        fixture.system.start_archive();
        eventually("space in the stream", || fixture.send(&fixture.bob, "quiet", &long)).await;
        // Present clients continue without a gap, and new ones join at the head.
        let fresh = fixture.system.start_gateway().await;
        let mut new = fixture.ada.connect(&fresh).await;
        let joined = new.ok("join-room", fixture.ada.join_data(&name, Some(seq)).await).await;
        assert_eq!((&joined["recovered"], &joined["head"]), (&json!(true), &json!(seq)));
        let next = eventually("space", || fixture.send(&fixture.ada, &name, "next")).await;
        for socket in [&mut there, &mut new] {
            let event = socket.expect_where("receive-msg", |data| data["msg"] == "next").await;
            assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(seq)));
        }
        let page = fixture.ada.get(&format!("/room/{name}/message")).await.ok();
        let seqs: Vec<u64> = page["items"].as_array().unwrap().iter().map(seq_of).collect();
        assert_eq!(seqs, [seq, next]);
    }

    async fn the_biggest_room_is_purged_first(system: System) {
        let mut fixture = SmallStream::new(system).await;
        let mut quiet: Vec<u64> = Vec::new();
        for n in 0..5 {
            quiet.push(fixture.bob.post_message("quiet", &n.to_string()).await);
        }
        fixture.system.start_archive();
        let (subject, from) = (fixture.stored(), person(&fixture.ada));
        // Ten times the capacity of the stream, as fast as it accepts.
        for n in 0..250 {
            let msg = "\u{1F44D}".repeat(4000).parse().unwrap();
            let event =
                StoredEvent::RoomBroadcast { from: from.clone(), msg, at: Timestamp::now() };
            let payload = event.encode();
            eventually("space in the stream", || {
                fixture.system.publish_raw(subject.clone(), payload.clone())
            })
            .await;
            assert!(n < 250);
        }
        let gateway = fixture.system.start_gateway().await;
        let mut socket = fixture.bob.connect(&gateway).await;
        let joined =
            socket.ok("join-room", fixture.bob.join_data("quiet", Some(quiet[0])).await).await;
        assert_eq!(joined["recovered"], true);
        let replayed: Vec<u64> = socket.stored().into_iter().map(|(_, seq, _)| seq).collect();
        assert_eq!(replayed, quiet[1..]);
        assert_eq!(fixture.system.count_stored_events(fixture.quiet).await, 6);
    }

    async fn pages_are_complete_during_a_purge(system: System) {
        let mut fixture = SmallStream::new(system).await;
        // Full from the first event on, so every check purges everything that is archived.
        fixture.system.set_variable("STREAM_MAX_BYTES", "65000");
        fixture.system.provision().await;
        fixture.system.start_archive();
        let mut said = vec![fixture.first];
        for n in 0..150 {
            let text = n.to_string();
            let seq = eventually("space", || fixture.send(&fixture.ada, "noisy", &text)).await;
            said.push(seq);
            let after = said[said.len().saturating_sub(20)];
            let page =
                fixture.ada.get(&format!("/room/noisy/message?limit=200&after={after}")).await;
            assert!(!page.headers.contains_key("x-history"), "all of it");
            let page: Vec<u64> =
                page.ok()["items"].as_array().unwrap().iter().map(seq_of).collect();
            let expected: Vec<u64> = said.iter().copied().filter(|seq| *seq > after).collect();
            assert_eq!(page, expected);
        }
    }
}

fn seq_of(item: &Value) -> u64 {
    item["seq"].as_u64().unwrap()
}

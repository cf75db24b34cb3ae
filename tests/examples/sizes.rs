//! Measures the bytes that messages and files take, for docs/sizing.md:
//! `cargo run -p stories --example sizes`
#![expect(clippy::unwrap_used, reason = "a measurement that cannot continue ends")]

use async_nats::jetstream;
use protocol::{
    MessageId, RoomId, Timestamp,
    stored::{Message, Person, StoredEvent},
    subject::{self, Shards},
};
use stories::{Database, System, User};

const ROOMS: usize = 100;
const MESSAGES_PER_ROOM: usize = 500;
const WORDS: [&str; 24] = [
    "meeting",
    "tomorrow",
    "please",
    "review",
    "the",
    "draft",
    "before",
    "lunch",
    "and",
    "send",
    "it",
    "to",
    "everyone",
    "in",
    "room",
    "seven",
    "회의록",
    "내일",
    "감사합니다",
    "ok",
    "budget",
    "version",
    "2026",
    "release",
];

/// A text of this many words, different for each number.
fn text(number: usize, words: usize) -> String {
    let mut state = number as u64 + 1;
    let words: Vec<&str> = (0..words)
        .map(|_| {
            // Constants of Knuth's MMIX generator.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            WORDS[(state >> 33) as usize % WORDS.len()]
        })
        .collect();
    words.join(" ")
}

async fn publish(system: &System, rooms: &[RoomId], ada: &User, words: usize) -> usize {
    let context = jetstream::new(system.nats_as("functions").await);
    let from = Person { id: ada.id, name: "Ada".parse().unwrap() };
    let (mut bytes, mut pending) = (0, Vec::new());
    for number in 0..ROOMS * MESSAGES_PER_ROOM {
        let room = rooms[number % ROOMS];
        let msg = text(number, words);
        bytes += msg.len();
        let event = StoredEvent::ReceiveMsg(Message {
            id: MessageId::generate(),
            from: from.clone(),
            msg: msg.parse().unwrap(),
            at: Timestamp::now(),
            file: None,
            reply_to: None,
        });
        let subject = subject::stored(Shards::new(1).unwrap(), room);
        pending.push(context.publish(subject, event.encode().into()).await.unwrap());
        if pending.len() == 500 {
            for stored in pending.drain(..) {
                stored.await.unwrap();
            }
        }
    }
    for stored in pending {
        stored.await.unwrap();
    }
    bytes / (ROOMS * MESSAGES_PER_ROOM)
}

async fn database_bytes(system: &System) -> i64 {
    if system.is_postgres() {
        system.execute("VACUUM FULL").await;
        system.count("SELECT pg_database_size(current_database())").await
    } else {
        system.execute("VACUUM").await;
        system.count("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").await
    }
}

async fn stream_bytes(system: &System) -> u64 {
    let admin = jetstream::new(system.nats_as("provision").await);
    admin.get_stream("CHAT_0").await.unwrap().cached_info().state.bytes
}

async fn measure(system: System) {
    let ada = system.user("ada").await;
    let mut rooms = Vec::new();
    for number in 0..ROOMS {
        rooms.push(ada.create_room(&format!("room-{number}")).await);
    }
    while system.archive_once().await > 0 {}
    for words in [5, 20, 100] {
        let (database, stream) = (database_bytes(&system).await, stream_bytes(&system).await);
        let text = publish(&system, &rooms, &ada, words).await;
        while system.archive_once().await > 0 {}
        let messages = (ROOMS * MESSAGES_PER_ROOM) as i64;
        println!(
            "{}: text {text} B, stream {} B, database {} B",
            if system.is_postgres() { "PostgreSQL" } else { "SQLite" },
            (stream_bytes(&system).await - stream) / messages as u64,
            (database_bytes(&system).await - database) / messages,
        );
    }
}

#[tokio::main]
async fn main() {
    for database in [Database::Sqlite, Database::Postgres] {
        measure(System::new(database).await).await;
    }
}

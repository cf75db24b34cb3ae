//! A replay never presents purged events as events that never existed.

use protocol::{
    RoomId, Seq, Timestamp, UserId,
    stored::{Person, StoredEvent},
    subject::{self, Shards},
};
use serde_json::json;
use service::roomlog::RoomLog;
use stories::{System, User, stories};

/// Stores events of two rooms alternately, so that neither room has consecutive seqs.
async fn fill(system: &System, rooms: [RoomId; 2], by: UserId) {
    let from = Person { id: by, name: "ada".parse().unwrap() };
    for text in 0..10 {
        for room in rooms {
            let (from, at) = (from.clone(), Timestamp::now());
            let msg = protocol::MessageText::parse(&text.to_string()).unwrap();
            system.append_event(room, StoredEvent::RoomBroadcast { from, msg, at }).await;
        }
    }
}

/// Purges as the archive does: first the mark, then the purge.
async fn purge(system: &System, room: RoomId, keep_from: u64) {
    let archive = system.nats_as("archive").await;
    let shards = Shards::new(1).unwrap();
    let kept = keep_from.try_into().unwrap();
    RoomLog::new(archive.clone(), shards).keep_from(room, kept).await.unwrap();
    let jetstream = async_nats::jetstream::with_prefix(archive, subject::JETSTREAM_API);
    let stream = jetstream.get_stream("CHAT_0").await.unwrap();
    let purge = stream.purge().filter(subject::stored(shards, room)).sequence(keep_from);
    assert!(purge.await.unwrap().purged > 0);
}

/// Joins at a new gateway; returns `recovered` and the replayed events.
async fn replayed(system: &System, user: &User, after: u64) -> (bool, Vec<(u64, u64)>) {
    let gateway = system.start_gateway().await;
    let mut socket = user.connect(&gateway).await;
    let joined = socket.ok("join-room", user.join_data("lobby", Some(after)).await).await;
    let events = socket.stored().into_iter().map(|(_, seq, prev)| (seq, prev)).collect();
    (joined["recovered"].as_bool().unwrap(), events)
}

stories! {
    async fn a_replay_is_exact_or_reported_as_incomplete(system: System) {
        let ada = system.user("ada").await;
        let (room, other) = (ada.create_room("lobby").await, ada.create_room("other").await);
        fill(&system, [room, other], ada.id).await;
        let (recovered, all) = replayed(&system, &ada, 0).await;
        assert!(recovered, "nothing was ever purged");
        assert_eq!(all.len(), 11, "one came, ten notices");

        // The beginning of the other room is purged, and with it the first messages of the stream.
        let log = RoomLog::new(system.nats_as("functions").await, Shards::new(1).unwrap());
        let others = log.after(other, Seq::ZERO, 100).await.unwrap();
        purge(&system, other, others[9].seq.get()).await;
        assert_eq!(log.oldest_kept(other).await.unwrap(), others[9].seq);
        assert_eq!(log.oldest_kept(room).await.unwrap(), Seq::ZERO);
        assert_eq!(replayed(&system, &ada, 0).await, (true, all.clone()), "another room's purge");

        let (kept, _) = all[6];
        purge(&system, room, kept).await;
        let before_kept = all[5].0;
        for (after, recovered) in
            [(0, false), (before_kept, false), (kept - 1, false), (kept, true)]
        {
            let expected = if recovered { all[7..].to_vec() } else { Vec::new() };
            assert_eq!(
                replayed(&system, &ada, after).await,
                (recovered, expected),
                "after {after}"
            );
        }
        for after in [all[8].0, all[10].0] {
            let expected = all.iter().copied().filter(|(seq, _)| *seq > after).collect();
            assert_eq!(replayed(&system, &ada, after).await, (true, expected), "after {after}");
        }

        // Everything but the newest event is purged; the next event follows it.
        let newest = all[10].0;
        purge(&system, room, newest).await;
        let gateway = system.start_gateway().await;
        let mut socket = ada.connect(&gateway).await;
        let joined = socket.ok("join-room", ada.join_data("lobby", Some(newest)).await).await;
        assert_eq!((&joined["recovered"], &joined["head"]), (&json!(true), &json!(newest)));
        socket.ok("send-msg", json!({ "roomId": room, "msg": "next" })).await;
        assert_eq!(socket.expect("receive-msg").await["prev"], json!(newest));
    }
}

//! Messages that an older version stored twice are shown and kept once.

use std::time::Duration;

use protocol::{
    MessageId, Timestamp,
    stored::{Message, Person, StoredEvent},
};
use serde_json::Value;
use stories::{System, stories};

async fn archive_all(system: &System) {
    while system.archive_once().await > 0 {}
}

stories! {
    /// Duplicates that an older version stored: the archive and every reader drop them.
    async fn duplicates_in_the_stream_are_shown_once(system: System) {
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let message = |msg: &str, id: MessageId| {
            let (from, at) =
                (Person { id: ada.id, name: "ada".parse().unwrap() }, Timestamp::now());
            let (file, reply_to) = (None, None);
            StoredEvent::ReceiveMsg(Message {
                id,
                from,
                msg: msg.parse().unwrap(),
                at,
                file,
                reply_to,
            })
        };
        let (twice, once) = (MessageId::generate(), MessageId::generate());
        for event in [message("first", twice), message("between", once), message("first", twice)] {
            system.append_event(room, event).await;
        }
        let shown = async || {
            let pages = [
                "/room/lobby/message",
                "/room/lobby/message?after=0",
                "/room/lobby/message/search?q=first",
            ];
            let mut shown = Vec::new();
            for page in pages {
                let page = ada.get(page).await.ok();
                let texts = page["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["msg"].as_str().unwrap().to_owned());
                shown.push(texts.collect::<Vec<_>>().join(" "));
            }
            shown
        };
        assert_eq!(shown().await, ["first between", "first between", "first"], "from the stream");
        archive_all(&system).await;
        assert_eq!(system.count_messages().await, 2);
        assert_eq!(shown().await, ["first between", "first between", "first"], "from the database");
        system.append_event(room, message("first", twice)).await;
        assert_eq!(shown().await, ["first between", "first between", "first"], "from both");
        let page = ada.get("/room/lobby/message?limit=2").await.ok();
        assert_eq!(
            (page["items"].as_array().unwrap().len(), &page["next"]),
            (2, &Value::Null),
            "it takes no place of a page"
        );
        archive_all(&system).await;
        assert_eq!(system.count_messages().await, 2);
    }

    async fn the_migration_keeps_the_first_of_duplicate_messages(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        for text in ["a", "b", "c"] {
            ada.post_message("lobby", text).await;
        }
        archive_all(&system).await;
        system.execute("DROP INDEX message_sent_key").await;
        let columns = "room_id, seq, id, author_id, author_name, msg, file, reply_to, at, parts";
        let copied = format!(
            "INSERT INTO message ({columns}) SELECT {} FROM message WHERE msg <> 'b'",
            columns.replace("seq", "seq + 1000"),
        );
        assert_eq!(system.execute(&copied).await, 2);
        let reacted = "INSERT INTO reaction (room_id, target, emoji, user_id, seq, is_on)
            SELECT room_id, seq, '👍', author_id, seq % 1000, TRUE FROM message WHERE msg <> 'b'";
        assert_eq!(system.execute(reacted).await, 4);
        system.execute("DROP TABLE publish_budget").await;
        system.execute("DELETE FROM _sqlx_migrations WHERE version = 7").await;
        system.provision().await;
        assert_eq!(system.count_messages().await, 3);
        assert_eq!(system.count("SELECT COUNT(*) FROM message WHERE seq > 1000").await, 0);
        assert_eq!(system.count("SELECT COUNT(*) FROM reaction").await, 2);
        assert!(
            tokio::time::timeout(Duration::from_secs(5), ada.post_message("lobby", "on"))
                .await
                .is_ok()
        );
    }
}

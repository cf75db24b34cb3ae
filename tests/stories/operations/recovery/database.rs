//! The database is restored to an earlier state, or empty.

use provision::Recovery;
use serde_json::json;
use stories::{System, stories};

use super::{ADVANCE, archive_all, send_all, texts};

const REPLAY: Recovery = Recovery { advance: false, replay: true, is_asked: true };

stories! {
    async fn an_older_database_is_completed_from_the_stream(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        bob.enter("lobby").await;
        let seqs = send_all(&ada, &["1", "2", "3"]).await;
        archive_all(&system).await;
        system.back_up_database().await;
        ada.create_room("later").await;
        send_all(&bob, &["4", "5", "6", "7"]).await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        socket.ok("edit-msg", json!({ "roomId": room, "seq": seqs[0], "msg": "1 edited" })).await;
        socket
            .ok("react", json!({ "roomId": room, "seq": seqs[1], "emoji": "👍", "on": true }))
            .await;
        socket.ok("delete-msg", json!({ "roomId": room, "seq": seqs[2] })).await;
        archive_all(&system).await;
        let whole = ada.get("/room/lobby/message").await.ok();
        system.restore_database().await;
        assert_eq!(system.count_messages().await, 3);

        let error = system.try_archive_once().await.unwrap_err().to_string();
        assert!(error.contains("run `provision --replay`"), "{error}");
        let error = system.try_provision(Recovery::default()).await.unwrap_err().to_string();
        assert!(
            error.contains("the database is behind stream CHAT_0") && error.contains("--replay"),
            "{error}"
        );
        assert!(system.try_provision(ADVANCE).await.is_err(), "that is the other way out");
        ada.post_message("lobby", "8").await;
        assert!(system.try_archive_once().await.is_err(), "nor does it go on past the hole");
        assert_eq!(system.count_messages().await, 3);

        system.try_provision(REPLAY).await.unwrap();
        archive_all(&system).await;
        let page = ada.get("/room/lobby/message").await.ok();
        let items = page["items"].as_array().unwrap();
        assert_eq!(
            items[..7],
            whole["items"].as_array().unwrap()[..],
            "4 messages and 3 changes are back"
        );
        assert_eq!((items.len(), &items[7]["msg"]), (8, &json!("8")));
        // Rows without events are as they were at the backup.
        ada.get("/room/later").await.problem(404, "no-such-room");
        assert_eq!(system.count("SELECT COUNT(*) FROM room").await, 1);
        system.provision().await;
        assert_eq!(system.archive_once().await, 0);
    }

    async fn an_empty_database_destroys_nothing(system: System) {
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        send_all(&ada, &["1", "2", "3"]).await;
        archive_all(&system).await;
        system.back_up_database().await;
        let events = system.count_stored_events(room).await;
        // A new disk before anything is restored.
        for table in
            ["message", "reaction", "read_mark", "room_log", "member", "room", "stream_log"]
        {
            system.execute(&format!("DELETE FROM {table}")).await;
        }
        assert!(system.try_archive_once().await.unwrap_err().to_string().contains("--replay"));
        assert!(
            system
                .try_provision(Recovery::default())
                .await
                .unwrap_err()
                .to_string()
                .contains("--replay")
        );
        assert_eq!(system.count_stored_events(room).await, events);
        system.restore_database().await;
        system.provision().await;
        archive_all(&system).await;
        assert_eq!(texts(&ada, 0).await, ["1", "2", "3"]);
    }
}

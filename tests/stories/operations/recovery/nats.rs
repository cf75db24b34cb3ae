//! The disk of NATS is lost, or restored to an earlier state.

use provision::Recovery;
use serde_json::json;
use stories::{System, eventually, stories};

use super::{
    ADVANCE, archive_all, is_ready, joins_again_and_continues, send_all, send_when_accepted, texts,
    try_to_send,
};

stories! {
    async fn a_lost_nats_disk_loses_only_unarchived_messages(system: System) {
        let mut system = system;
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let archived = send_all(&ada, &["1", "2", "3", "4", "5"]).await;
        archive_all(&system).await;
        let lost = send_all(&ada, &["lost 1", "lost 2"]).await;
        for _ in 0..7 {
            socket.expect("receive-msg").await;
        }
        system.lose_nats(false);
        eventually("functions that give no tickets", || async {
            let entered = ada.get("/room/lobby").await;
            (entered.status == 503).then(|| entered.problem(503, "unavailable"))
        })
        .await;
        assert!(!is_ready(&system, None).await);
        try_to_send(&ada, "nowhere").await.problem(503, "unavailable");

        system.provision().await;
        let mut after = vec![send_when_accepted(&ada, "after 0").await];
        assert!(after[0] > lost[1], "no seq is given twice");
        for n in 1..14 {
            after.push(ada.post_message("lobby", &format!("after {n}")).await);
        }
        let mut expected: Vec<String> = (1..6).map(|n| n.to_string()).collect();
        expected.extend((0..14).map(|n| format!("after {n}")));
        assert_eq!(texts(&ada, 0).await, expected, "before they are archived");
        archive_all(&system).await;
        assert_eq!(texts(&ada, 0).await, expected, "and after");
        assert_eq!(system.count_messages().await, 19, "2 of 21 acknowledged ones are lost");

        let missed: Vec<String> = (0..14).map(|n| format!("after {n}")).collect();
        let missed: Vec<&str> = missed.iter().map(String::as_str).collect();
        eventually("a gateway that is ready", || async {
            is_ready(&system, Some(&gateway)).await.then_some(())
        })
        .await;
        joins_again_and_continues(&bob, &mut socket, room, lost[1], &missed).await;
        // A new gateway answers the same.
        let fresh = system.start_gateway().await;
        let mut again = bob.connect(&fresh).await;
        let join = bob.join_data("lobby", Some(archived[4])).await;
        assert_eq!(again.ok("join-room", join).await["recovered"], false);
        let mut again = bob.connect(&fresh).await;
        let joined = again.ok("join-room", bob.join_data("lobby", Some(after[3])).await).await;
        assert_eq!(joined["recovered"], true);
        assert_eq!(again.stored().len(), 11, "ten and the next");
    }

    async fn a_quiet_room_continues_after_a_lost_nats_disk(system: System) {
        let mut system = system;
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        let seq = ada.post_message("lobby", "before").await;
        archive_all(&system).await;
        system.lose_nats(false);
        system.provision().await;
        let gateway = system.start_gateway().await;
        eventually("a ticket", || async {
            ada.get("/room/lobby").await.status.is_success().then_some(())
        })
        .await;
        let mut socket = ada.connect(&gateway).await;
        let joined = socket.ok("join-room", ada.join_data("lobby", Some(seq)).await).await;
        assert_eq!(joined["recovered"], false);
        let head = joined["head"].as_u64().unwrap();
        assert!(head > seq);
        let mut again = ada.connect(&gateway).await;
        let rejoined = again.ok("join-room", ada.join_data("lobby", Some(head)).await).await;
        assert_eq!((&rejoined["recovered"], &rejoined["head"]), (&json!(true), &json!(head)));
        let next = ada.post_message("lobby", "after").await;
        for socket in [&mut socket, &mut again] {
            let event = socket.expect("receive-msg").await;
            assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(head)));
        }
        // A new gateway replays the same from the stream.
        let fresh = system.start_gateway().await;
        let mut late = ada.connect(&fresh).await;
        assert_eq!(
            late.ok("join-room", ada.join_data("lobby", Some(head)).await).await["recovered"],
            true
        );
        assert_eq!(late.stored(), [("receive-msg".to_owned(), next, head)]);
    }

    async fn an_older_nats_refuses_messages_until_it_is_advanced(system: System) {
        let mut system = system;
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        send_all(&ada, &["1", "2", "3"]).await;
        archive_all(&system).await;
        system.back_up_nats();
        let (mut socket, _) = eventually("bob to join", || async {
            let mut socket = bob.connect(&gateway).await;
            let joined = socket.call("join-room", bob.join_data("lobby", None).await).await;
            (joined["ok"] == true).then_some((socket, joined))
        })
        .await;
        send_when_accepted(&ada, "4").await;
        let seqs = send_all(&ada, &["5", "6", "7"]).await;
        archive_all(&system).await;
        for _ in 0..4 {
            socket.expect("receive-msg").await;
        }
        system.lose_nats(true);

        // HTTP and sockets refuse messages at once, even before the readiness checks notice.
        for n in 0..4 {
            try_to_send(&ada, &format!("refused {n}")).await.problem(503, "unavailable");
        }
        let refused = |text: &str| json!({ "roomId": room, "msg": text });
        for n in 0..4 {
            socket.refused("send-msg", refused(&format!("refused {n}")), "unavailable").await;
        }
        ada.get("/room/lobby").await.problem(503, "unavailable");
        eventually("functions that are not ready", || async {
            (!is_ready(&system, None).await).then_some(())
        })
        .await;
        eventually("a gateway that is not ready", || async {
            (!is_ready(&system, Some(&gateway)).await).then_some(())
        })
        .await;
        let error = system.try_archive_once().await.unwrap_err().to_string();
        assert!(error.contains("run `provision --advance`"), "{error}");
        let error = system.try_provision(Recovery::default()).await.unwrap_err().to_string();
        assert!(
            error.contains("CHAT_0 is behind the database") && error.contains("--advance"),
            "{error}"
        );
        assert_eq!(texts(&ada, 0).await.len(), 7, "reading goes on");

        system.try_provision(ADVANCE).await.unwrap();
        let first = send_when_accepted(&ada, "8").await;
        assert!(first > seqs[2]);
        assert_eq!(texts(&ada, 0).await, ["1", "2", "3", "4", "5", "6", "7", "8"]);
        archive_all(&system).await;
        assert_eq!(
            texts(&ada, 0).await,
            ["1", "2", "3", "4", "5", "6", "7", "8"],
            "none of 8 is lost"
        );
        eventually("a gateway that is ready", || async {
            is_ready(&system, Some(&gateway)).await.then_some(())
        })
        .await;
        joins_again_and_continues(&bob, &mut socket, room, seqs[2], &["8"]).await;
        // Afterwards the release step works as usual.
        system.provision().await;
        system.try_provision(ADVANCE).await.unwrap();
        assert_eq!(texts(&ada, 0).await.len(), 9);
    }
}

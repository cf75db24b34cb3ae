//! A disk is lost, or comes back as it was some time ago: what is lost is what infra/README.md says, and
//! nothing that is acknowledged afterwards.

use protocol::RoomId;
use provision::Recovery;
use serde_json::{Value, json};
use stories::{Answer, Gateway, Socket, User, World, eventually, stories};

const ADVANCE: Recovery = Recovery { advance: true, replay: false, is_asked: false };
const REPLAY: Recovery = Recovery { advance: false, replay: true, is_asked: true };

async fn texts(user: &User, after: u64) -> Vec<String> {
    let page = user.get(&format!("/room/lobby/message?limit=200&after={after}")).await.ok();
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["msg"].as_str().unwrap().to_owned()).collect()
}

async fn say_all(user: &User, texts: &[&str]) -> Vec<u64> {
    let mut seqs = Vec::new();
    for text in texts {
        seqs.push(user.say("lobby", text).await);
    }
    seqs
}

async fn archive_all(world: &World) {
    while world.archive_once().await > 0 {}
}

async fn try_to_say(user: &User, text: &str) -> Answer {
    let body = json!({ "id": uuid::Uuid::now_v7(), "msg": text });
    user.post("/room/lobby/message", body).await
}

/// Until the functions take messages again.
async fn taken(user: &User, text: &str) -> u64 {
    let sent = eventually("a message to be taken", || async {
        let sent = try_to_say(user, text).await;
        (sent.status == 201).then_some(sent)
    })
    .await;
    sent.ok()["seq"].as_u64().unwrap()
}

async fn is_ready(world: &World, gateway: Option<&Gateway>) -> bool {
    let base = gateway.map_or(&world.base, |gateway| &gateway.base);
    let ready = Answer::of(world.http.get(format!("{base}/readyz"))).await;
    ready.status.is_success()
}

/// Somebody whose socket lived through it joins again as a client does, pages, and goes on.
async fn goes_on(user: &User, socket: &mut Socket, room: RoomId, last: u64, missed: &[&str]) {
    let lag = socket.expect("lag").await;
    assert_eq!(lag, json!({ "roomId": room, "last": last }));
    let joined = socket.ok("join-room", user.join_data("lobby", Some(last)).await).await;
    assert_eq!(joined["recovered"], false);
    assert_eq!(texts(user, last).await, missed);
    let head = joined["head"].as_u64().unwrap();
    let next = user.say("lobby", "next").await;
    let event = socket.expect_where("receive-msg", |data| data["msg"] == "next").await;
    assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(head)));
}

stories! {
    async fn without_natss_disk_what_was_not_archived_is_lost_and_nothing_else(world: World) {
        let mut world = world;
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let archived = say_all(&ada, &["1", "2", "3", "4", "5"]).await;
        archive_all(&world).await;
        let lost = say_all(&ada, &["lost 1", "lost 2"]).await;
        for _ in 0..7 {
            socket.expect("receive-msg").await;
        }
        world.lose_nats(false);
        eventually("functions that give no tickets", || async {
            let entered = ada.get("/room/lobby").await;
            (entered.status == 503).then(|| entered.problem(503, "unavailable"))
        }).await;
        assert!(!is_ready(&world, None).await);
        try_to_say(&ada, "nowhere").await.problem(503, "unavailable");

        world.provision().await;
        let mut after = vec![taken(&ada, "after 0").await];
        assert!(after[0] > lost[1], "no seq is given twice");
        for n in 1..14 {
            after.push(ada.say("lobby", &format!("after {n}")).await);
        }
        let mut expected: Vec<String> = (1..6).map(|n| n.to_string()).collect();
        expected.extend((0..14).map(|n| format!("after {n}")));
        assert_eq!(texts(&ada, 0).await, expected, "before they are archived");
        archive_all(&world).await;
        assert_eq!(texts(&ada, 0).await, expected, "and after");
        assert_eq!(world.count_messages().await, 19, "2 of 21 acknowledged ones are lost");

        let missed: Vec<String> = (0..14).map(|n| format!("after {n}")).collect();
        let missed: Vec<&str> = missed.iter().map(String::as_str).collect();
        eventually("a gateway that is ready", || async { is_ready(&world, Some(&gateway)).await.then_some(()) }).await;
        goes_on(&bob, &mut socket, room, lost[1], &missed).await;
        // A gateway that knows nothing yet says the same.
        let fresh = world.gateway().await;
        let mut again = bob.connect(&fresh).await;
        let join = bob.join_data("lobby", Some(archived[4])).await;
        assert_eq!(again.ok("join-room", join).await["recovered"], false);
        let mut again = bob.connect(&fresh).await;
        let joined = again.ok("join-room", bob.join_data("lobby", Some(after[3])).await).await;
        assert_eq!(joined["recovered"], true);
        assert_eq!(again.stored().len(), 11, "ten and the next");
    }

    async fn a_quiet_room_of_before_is_joined_as_whole_from_its_new_head_on(world: World) {
        let mut world = world;
        let ada = world.user("ada").await;
        ada.create_room("lobby").await;
        let seq = ada.say("lobby", "before").await;
        archive_all(&world).await;
        world.lose_nats(false);
        world.provision().await;
        let gateway = world.gateway().await;
        eventually("a ticket", || async {
            ada.get("/room/lobby").await.status.is_success().then_some(())
        }).await;
        let mut socket = ada.connect(&gateway).await;
        let joined = socket.ok("join-room", ada.join_data("lobby", Some(seq)).await).await;
        assert_eq!(joined["recovered"], false);
        let head = joined["head"].as_u64().unwrap();
        assert!(head > seq);
        let mut again = ada.connect(&gateway).await;
        let rejoined = again.ok("join-room", ada.join_data("lobby", Some(head)).await).await;
        assert_eq!((&rejoined["recovered"], &rejoined["head"]), (&json!(true), &json!(head)));
        let next = ada.say("lobby", "after").await;
        for socket in [&mut socket, &mut again] {
            let event = socket.expect("receive-msg").await;
            assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(head)));
        }
        // The same from the stream, for who comes later to a gateway that knows nothing.
        let fresh = world.gateway().await;
        let mut late = ada.connect(&fresh).await;
        assert_eq!(late.ok("join-room", ada.join_data("lobby", Some(head)).await).await["recovered"], true);
        assert_eq!(late.stored(), [("receive-msg".to_owned(), next, head)]);
    }

    async fn with_an_older_nats_nothing_is_taken_until_it_is_advanced(world: World) {
        let mut world = world;
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        say_all(&ada, &["1", "2", "3"]).await;
        archive_all(&world).await;
        world.back_up_nats();
        let (mut socket, _) = eventually("bob to join", || async {
            let mut socket = bob.connect(&gateway).await;
            let joined = socket.call("join-room", bob.join_data("lobby", None).await).await;
            (joined["ok"] == true).then_some((socket, joined))
        }).await;
        taken(&ada, "4").await;
        let seqs = say_all(&ada, &["5", "6", "7"]).await;
        archive_all(&world).await;
        for _ in 0..4 {
            socket.expect("receive-msg").await;
        }
        world.lose_nats(true);

        // Neither door takes anything, not even while nobody has noticed yet.
        for n in 0..4 {
            try_to_say(&ada, &format!("refused {n}")).await.problem(503, "unavailable");
        }
        let refused = |text: &str| json!({ "roomId": room, "msg": text });
        for n in 0..4 {
            socket.refused("send-msg", refused(&format!("refused {n}")), "unavailable").await;
        }
        ada.get("/room/lobby").await.problem(503, "unavailable");
        eventually("functions that are not ready", || async { (!is_ready(&world, None).await).then_some(()) }).await;
        eventually("a gateway that is not ready", || async { (!is_ready(&world, Some(&gateway)).await).then_some(()) }).await;
        let error = world.try_archive_once().await.unwrap_err().to_string();
        assert!(error.contains("run `provision --advance`"), "{error}");
        let error = world.recover(Recovery::default()).await.unwrap_err().to_string();
        assert!(error.contains("CHAT_0 is behind the database") && error.contains("--advance"), "{error}");
        assert_eq!(texts(&ada, 0).await.len(), 7, "reading goes on");

        world.recover(ADVANCE).await.unwrap();
        let first = taken(&ada, "8").await;
        assert!(first > seqs[2]);
        assert_eq!(texts(&ada, 0).await, ["1", "2", "3", "4", "5", "6", "7", "8"]);
        archive_all(&world).await;
        assert_eq!(texts(&ada, 0).await, ["1", "2", "3", "4", "5", "6", "7", "8"], "none of 8 is lost");
        eventually("a gateway that is ready", || async { is_ready(&world, Some(&gateway)).await.then_some(()) }).await;
        goes_on(&bob, &mut socket, room, seqs[2], &["8"]).await;
        // And it is a release step like any other from then on.
        world.provision().await;
        world.recover(ADVANCE).await.unwrap();
        assert_eq!(texts(&ada, 0).await.len(), 9);
    }

    async fn an_older_database_takes_from_the_stream_what_it_lacks(world: World) {
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        bob.enter("lobby").await;
        let seqs = say_all(&ada, &["1", "2", "3"]).await;
        archive_all(&world).await;
        world.back_up_database().await;
        ada.create_room("later").await;
        say_all(&bob, &["4", "5", "6", "7"]).await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        socket.ok("edit-msg", json!({ "roomId": room, "seq": seqs[0], "msg": "1 edited" })).await;
        socket.ok("react", json!({ "roomId": room, "seq": seqs[1], "emoji": "👍", "on": true })).await;
        socket.ok("delete-msg", json!({ "roomId": room, "seq": seqs[2] })).await;
        archive_all(&world).await;
        let whole = ada.get("/room/lobby/message").await.ok();
        world.restore_database().await;
        assert_eq!(world.count_messages().await, 3);

        let error = world.try_archive_once().await.unwrap_err().to_string();
        assert!(error.contains("run `provision --replay`"), "{error}");
        let error = world.recover(Recovery::default()).await.unwrap_err().to_string();
        assert!(error.contains("the database is behind stream CHAT_0") && error.contains("--replay"), "{error}");
        assert!(world.recover(ADVANCE).await.is_err(), "that is the other way out");
        ada.say("lobby", "8").await;
        assert!(world.try_archive_once().await.is_err(), "nor does it go on past the hole");
        assert_eq!(world.count_messages().await, 3);

        world.recover(REPLAY).await.unwrap();
        archive_all(&world).await;
        let page = ada.get("/room/lobby/message").await.ok();
        let items = page["items"].as_array().unwrap();
        assert_eq!(items[..7], whole["items"].as_array().unwrap()[..], "4 messages and 3 changes are back");
        assert_eq!((items.len(), &items[7]["msg"]), (8, &json!("8")));
        // What no event tells of is as it was at the backup.
        ada.get("/room/later").await.problem(404, "no-such-room");
        assert_eq!(world.count("SELECT COUNT(*) FROM room").await, 1);
        world.provision().await;
        assert_eq!(world.archive_once().await, 0);
    }

    async fn an_empty_database_beside_a_full_stream_destroys_nothing(world: World) {
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        say_all(&ada, &["1", "2", "3"]).await;
        archive_all(&world).await;
        world.back_up_database().await;
        let events = world.events_in_stream(room).await;
        // A new disk, and nobody has restored anything yet.
        for table in ["message", "reaction", "read_mark", "room_log", "member", "room", "stream_log"] {
            world.sql(&format!("DELETE FROM {table}")).await;
        }
        assert!(world.try_archive_once().await.unwrap_err().to_string().contains("--replay"));
        assert!(world.recover(Recovery::default()).await.unwrap_err().to_string().contains("--replay"));
        assert_eq!(world.events_in_stream(room).await, events);
        world.restore_database().await;
        world.provision().await;
        archive_all(&world).await;
        assert_eq!(texts(&ada, 0).await, ["1", "2", "3"]);
    }

    async fn without_the_storages_disk_files_are_lost_and_messages_are_not(world: World) {
        let ada = world.user("ada").await;
        ada.create_room("lobby").await;
        let upload = |name: &'static str| {
            let (world, ada) = (&world, &ada);
            async move {
                let file = json!({ "name": name, "size": 3, "type": "text/plain" });
                let declared = ada.post("/room/lobby/file", file).await.ok();
                assert!(world.put(&declared, b"abc").await.is_success());
                let path = format!("/file/{}", declared["file"]["id"].as_str().unwrap());
                ada.post(&format!("{path}/complete"), json!({})).await.ok();
                let message = json!({ "id": uuid::Uuid::now_v7(), "msg": name, "fileId": declared["file"]["id"] });
                ada.post("/room/lobby/message", message).await.ok();
                path
            }
        };
        let before = upload("before.txt").await;
        archive_all(&world).await;
        world.lose_files();
        world.provision().await;
        assert_eq!(download(&world, &ada, &before).await, 404, "1 of 1 file is lost");
        let page = ada.get("/room/lobby/message").await.ok();
        assert_eq!(page["items"][0]["file"]["name"], "before.txt");
        let after = upload("after.txt").await;
        assert_eq!(download(&world, &ada, &after).await, 200);
        archive_all(&world).await;
        assert_eq!(texts(&ada, 0).await, ["before.txt", "after.txt"]);
    }

    async fn from_a_backup_of_the_database_alone_all_starts_again(world: World) {
        let mut world = world;
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        let kept = say_all(&ada, &["1", "2", "3"]).await;
        archive_all(&world).await;
        world.back_up_database().await;
        say_all(&ada, &["lost 4", "lost 5"]).await;
        archive_all(&world).await;
        let lost = ada.say("lobby", "lost 6").await;
        world.lose_nats(false);
        world.lose_files();
        world.restore_database().await;
        world.provision().await;
        let first = taken(&ada, "7").await;
        assert!(first > lost, "above what clients may have seen");
        assert_eq!(texts(&ada, 0).await, ["1", "2", "3", "7"], "3 of 7 are lost: those after the backup");
        archive_all(&world).await;
        assert_eq!(texts(&ada, 0).await, ["1", "2", "3", "7"]);
        let gateway = world.gateway().await;
        let mut socket = ada.connect(&gateway).await;
        let joined = socket.ok("join-room", ada.join_data("lobby", Some(kept[2])).await).await;
        assert_eq!((&joined["recovered"], &joined["head"]), (&json!(false), &json!(first)));
        assert_eq!(world.events_in_stream(room).await, 1);
    }
}

async fn download(world: &World, user: &User, path: &str) -> u16 {
    let link = user.request(reqwest::Method::GET, path).header("accept", "application/json");
    let link: Value = Answer::of(link).await.ok();
    let link = link["url"].as_str().unwrap();
    world.http.get(link).send().await.unwrap().status().as_u16()
}

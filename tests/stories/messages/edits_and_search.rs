//! Edits, deletions and reactions in history, before and after they are archived, and search.

use serde_json::{Value, json};
use stories::{Socket, System, User, stories};

async fn history(user: &User) -> Value {
    user.get("/room/lobby/message").await.ok()["items"].clone()
}

async fn found(user: &User, part: &str) -> Vec<String> {
    let page = Answers(user).search(&[("q", part)]).await;
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["msg"].as_str().unwrap().to_owned())
        .collect()
}

struct Answers<'a>(&'a User);

impl Answers<'_> {
    async fn search(&self, query: &[(&str, &str)]) -> Value {
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
        self.0.get(&format!("/room/lobby/message/search?{}", query.join("&"))).await.ok()
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Makes every kind of change to messages of a room.
async fn change(socket: &mut Socket, room: &Value, seqs: &[u64]) {
    let at = |seq: u64, more: Value| {
        let mut data = json!({ "roomId": room, "seq": seq });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    socket.ok("edit-msg", at(seqs[0], json!({ "msg": "edited once" }))).await;
    socket.ok("edit-msg", at(seqs[0], json!({ "msg": "edited twice" }))).await;
    socket.ok("delete-msg", at(seqs[1], json!({}))).await;
    socket.ok("edit-msg", at(seqs[1], json!({ "msg": "too late" }))).await;
    for (emoji, on) in [("👍", true), ("🎉", true), ("👍", false), ("👍", true), ("🎉", false)]
    {
        socket.ok("react", at(seqs[2], json!({ "emoji": emoji, "on": on }))).await;
    }
}

fn check(items: &Value, seqs: &[u64]) {
    let seq = |item: &Value| item["seq"].as_u64().unwrap();
    let read: Vec<u64> = items.as_array().unwrap().iter().map(seq).collect();
    assert_eq!(read, seqs);
    assert_eq!(
        (&items[0]["msg"], items[0]["editedAt"].is_string()),
        (&json!("edited twice"), true)
    );
    assert_eq!((&items[1]["msg"], items[1]["deletedAt"].is_string()), (&json!(""), true));
    assert_eq!(items[1]["editedAt"], Value::Null);
    let mine = json!([{ "emoji": "👍", "count": 1, "mine": true }]);
    assert_eq!(items[2]["reactions"], mine);
    assert_eq!((&items[3]["reactions"], &items[3]["editedAt"]), (&Value::Null, &Value::Null));
}

stories! {
    async fn changes_of_a_message_are_in_history_at_once(system: System) {
        let mut system = system;
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = json!(ada.create_room("lobby").await);
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let mut seqs = Vec::new();
        for text in ["one", "two", "three", "four"] {
            seqs.push(ada.post_message("lobby", text).await);
        }
        change(&mut socket, &room, &seqs).await;
        check(&history(&ada).await, &seqs);
        while system.archive_once().await > 0 {}
        let archived = history(&ada).await;
        check(&archived, &seqs);
        // The same over archived messages: the changes come from the stream, the messages from the database.
        let at = |seq: u64| json!({ "roomId": room, "seq": seq, "emoji": "👍", "on": false });
        socket.ok("react", at(seqs[2])).await;
        socket
            .ok("react", json!({ "roomId": room, "seq": seqs[3], "emoji": "🎉", "on": true }))
            .await;
        socket.ok("edit-msg", json!({ "roomId": room, "seq": seqs[3], "msg": "FOUR" })).await;
        socket.ok("delete-msg", json!({ "roomId": room, "seq": seqs[0] })).await;
        let mixed = history(&ada).await;
        assert_eq!((&mixed[2]["reactions"], &mixed[3]["msg"]), (&Value::Null, &json!("FOUR")));
        assert_eq!(mixed[3]["reactions"], json!([{ "emoji": "🎉", "count": 1, "mine": true }]));
        assert!(mixed[0]["deletedAt"].is_string());
        while system.archive_once().await > 0 {}
        assert_eq!(history(&ada).await, mixed);
        // The archive gets all events again, as after a crash before its acknowledgement.
        assert_eq!(system.archive_from_start().await, 4);
        assert_eq!(history(&ada).await, mixed);
        let bob = system.user("bob").await;
        bob.enter("lobby").await;
        assert_eq!(history(&bob).await[3]["reactions"][0]["mine"], false);
        let last = bob.get("/room?mine=true").await.ok();
        assert_eq!(last["items"][0]["lastMessage"]["msg"], "FOUR");
    }

    async fn search_finds_parts_of_words_in_any_script(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let texts = [
            "안녕하세요 여러분",
            "100% sure_thing \\o/",
            "ÄRGER in Straße",
            "hello again",
            "여러 가지",
        ];
        let mut seqs = Vec::new();
        for text in texts {
            seqs.push(ada.post_message("lobby", text).await);
        }
        let expected = async || {
            for (part, hits) in [
                ("하세", vec![texts[0]]),
                ("여러", vec![texts[4], texts[0]]),
                ("ärg", vec![texts[2]]),
                ("STRASSE", vec![texts[2]]),
                ("straße", vec![texts[2]]),
                ("%", vec![]),
                ("0%", vec![texts[1]]),
                ("e_t", vec![texts[1]]),
                ("\\o", vec![texts[1]]),
                ("e%a", vec![]),
                ("HELLO", vec![texts[3]]),
            ] {
                if part.chars().count() > 1 {
                    assert_eq!(found(&ada, part).await, hits, "{part}");
                }
            }
        };
        expected().await;
        assert!(system.archive_once().await > 0);
        expected().await;
        // Half of the messages are archived; the pages cross the seam.
        ada.post_message("lobby", "여러 번").await;
        let first = Answers(&ada).search(&[("q", "여러"), ("limit", "2")]).await;
        assert_eq!(first["items"][0]["msg"], "여러 번");
        let rest = Answers(&ada)
            .search(&[("q", "여러"), ("limit", "2"), ("cursor", first["next"].as_str().unwrap())])
            .await;
        assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
        // A change that is not archived yet.
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        socket.ok("edit-msg", json!({ "roomId": room, "seq": seqs[3], "msg": "goodbye" })).await;
        socket.ok("delete-msg", json!({ "roomId": room, "seq": seqs[0] })).await;
        assert_eq!(found(&ada, "hello").await, Vec::<String>::new());
        assert_eq!(found(&ada, "하세").await, Vec::<String>::new());
        while system.archive_once().await > 0 {}
        assert_eq!(found(&ada, "hello").await, Vec::<String>::new());
        assert_eq!(found(&ada, "하세").await, Vec::<String>::new());
        assert_eq!(found(&ada, "OODB").await, ["goodbye"]);

    }

    async fn invalid_searches_are_refused(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        for query in ["", "?q=x", "?q=", "?cursor=x"] {
            let answer = ada.get(&format!("/room/lobby/message/search{query}")).await;
            assert_eq!(answer.status, 422, "{query}: {}", answer.body);
        }
        let long = "x".repeat(101);
        ada.get(&format!("/room/lobby/message/search?q={long}"))
            .await
            .problem(422, "invalid-value");
        system
            .user("eve")
            .await
            .get("/room/lobby/message/search?q=xx")
            .await
            .problem(403, "not-a-member");
    }

    async fn search_finds_every_substring_and_nothing_else(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        let texts =
            ["한국어 봄", "aXbxxc", "two\nlines", "👍🏽 ok 👍", "50%_\\ 'x'", "e\u{301}t\u{e9}"];
        for text in texts {
            ada.post_message("lobby", text).await;
        }
        while system.archive_once().await > 0 {}
        let lower = |text: &str| text.replace("e\u{301}", "\u{e9}").to_lowercase();
        for text in texts {
            let chars: Vec<char> = text.chars().collect();
            let parts = chars.windows(2).chain(chars.windows(3)).map(String::from_iter);
            for part in parts.chain(["xx".into(), "XbX".into(), "\u{e9}t".into()]) {
                // A combining mark alone matches no letter.
                if part.starts_with('\u{301}') {
                    continue;
                }
                let mut hits: Vec<&str> =
                    texts.into_iter().filter(|text| lower(text).contains(&lower(&part))).collect();
                hits.reverse();
                assert_eq!(found(&ada, &part).await, hits, "{part:?}");
            }
        }
    }

    async fn unread_counts_start_at_the_join_and_follow_reading(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        ada.post_message("lobby", "before").await;
        bob.enter("lobby").await;
        for text in ["one", "two", "three"] {
            ada.post_message("lobby", text).await;
        }
        while system.archive_once().await > 0 {}
        let unread = async |user: &User| user.get("/room").await.ok()["items"][0]["unread"].clone();
        assert_eq!((unread(&bob).await, unread(&ada).await), (json!(3), json!(0)));
        let (mut socket, joined) = bob.join(&gateway, "lobby").await;
        let seq = joined["head"].as_u64().unwrap() - 1;
        socket.ok("read", json!({ "roomId": room, "seq": seq })).await;
        while system.archive_once().await > 0 {}
        assert_eq!(unread(&bob).await, json!(1));
    }
}

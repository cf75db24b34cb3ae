//! Texts in any script: what is empty, what is one emoji, and what a search finds.

use serde_json::{Value, json};
use stories::{System, User, stories};

/// Texts in which readers see nothing.
const BLANK: [&str; 12] = [
    "",
    " \n\u{3000}",
    "\u{200B}",
    "\u{3164}",
    "\u{115F}\u{1160}",
    "\u{2800}\u{2800}",
    "\u{FE0F}",
    "\u{E0061}\u{E007F}",
    "\u{200D}\u{200C} \u{FEFF}",
    "\u{202E}\u{202C}",
    "\u{7}\u{1B}",
    "\u{180E}\u{34F}\u{AD}",
];

async fn found(user: &User, part: &str) -> Vec<String> {
    let query: String = part.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let page = user.get(&format!("/room/lobby/message/search?q={query}")).await.ok();
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["msg"].as_str().unwrap().to_owned()).collect()
}

async fn reactions(user: &User) -> Value {
    user.get("/room/lobby/message").await.ok()["items"][0]["reactions"].clone()
}

/// Texts, and terms that find them.
const SEARCHES: [(&str, &[&str]); 9] = [
    ("Σίσυφος", &["σίσυφοσ", "ΣΊΣΥΦΟΣ", "υφος", "ΥΦΟΣ"]),
    ("Große Straße", &["STRASSE", "strasse", "straße", "GROSSE"]),
    ("İstanbul", &["istanbul", "İSTANBUL", "ISTANBUL"]),
    ("ＡＢＣ　１２３", &["abc", "123", "ａｂｃ"]),
    ("ｶﾞｲﾄﾞ", &["ガイド", "ｶﾞｲ", "ガ", "ｶﾞ"]),
    ("re\u{301}sume\u{301}", &["résumé", "RÉSUMÉ", "sume\u{301}"]),
    ("ﬁsh", &["fish", "FISH"]),
    ("나는 봄이 좋다", &["봄", "봄이", "좋"]),
    ("東京 ❤️", &["東", "京", "❤", "❤\u{FE0F}"]),
];

stories! {
    async fn a_text_without_anything_to_see_is_empty(system: System) {
        let mut system = system;
        system.set_variable("LIMIT_EVENT_RATE", "0");
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let seq = ada.post_message("lobby", "می\u{200C}خواهم 👩\u{200D}🚀 \u{2800}").await;
        for text in BLANK {
            let message = json!({ "id": uuid::Uuid::now_v7(), "msg": text });
            ada.post("/room/lobby/message", message).await.problem(422, "invalid-value");
            ada.post("/room/lobby/broadcast", json!({ "msg": text })).await.problem(422, "invalid-value");
            for event in ["send-msg", "room-broadcast"] {
                socket.refused(event, json!({ "roomId": room, "msg": text }), "message-empty").await;
            }
            let edit = json!({ "roomId": room, "seq": seq, "msg": text });
            socket.refused("edit-msg", edit, "message-empty").await;
            socket.refused("new", json!({ "roomId": room, "msg": text }), "invalid-value").await;
            let named = json!({ "roomId": room, "msg": "x", "name": text });
            socket.refused("send-msg", named, "invalid-value").await;
            ada.patch("/user", json!({ "displayName": text })).await.problem(422, "invalid-value");
            ada.post("/room", json!({ "name": "titled", "title": text })).await.problem(422, "invalid-value");
        }
        socket.ok("new", json!({ "roomId": room, "msg": "آ می\u{200C}خ 👩\u{200D}🚀" })).await;
        let nul = socket.call("send-msg", json!({ "roomId": room, "msg": "a\0b" })).await;
        let detail = nul["error"]["detail"].as_str().unwrap();
        assert!(detail.contains("control character U+0000"), "{detail}");
    }

    async fn a_reaction_is_exactly_one_emoji_in_one_form(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (mut b, _) = bob.join(&gateway, "lobby").await;
        let seq = ada.post_message("lobby", "hello").await;
        let react = |emoji: &str, on: bool| json!({ "roomId": room, "seq": seq, "emoji": emoji, "on": on });
        for bad in ["", "좋아요", "ok", "a", "1", "👍👍", "👍 ", "\u{200D}", "\u{3164}", "\u{FE0F}", "🇰", "+1", "👍\u{200B}"] {
            a.refused("react", react(bad, true), "invalid-value").await;
        }
        a.ok("react", react("❤", true)).await;
        assert_eq!(b.expect("reaction").await["emoji"], "❤️");
        b.ok("react", react("❤\u{FE0F}", true)).await;
        assert_eq!(reactions(&ada).await, json!([{ "emoji": "❤️", "count": 2, "mine": true }]));
        while system.archive_once().await > 0 {}
        assert_eq!(reactions(&ada).await, json!([{ "emoji": "❤️", "count": 2, "mine": true }]));
        // What an older version stored.
        system.execute("UPDATE reaction SET emoji = '❤'").await;
        assert_eq!(reactions(&ada).await, json!([{ "emoji": "❤️", "count": 2, "mine": true }]));
        system.provision().await;
        b.ok("react", react("❤", false)).await;
        while system.archive_once().await > 0 {}
        assert_eq!(reactions(&ada).await, json!([{ "emoji": "❤️", "count": 1, "mine": true }]));
        for emoji in ["🇰🇷", "1️⃣", "👍🏽", "👩‍👩‍👧", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏳️‍🌈"] {
            a.ok("react", react(emoji, true)).await;
        }
    }

    async fn a_search_ignores_case_width_and_combining_forms(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        for (text, _) in SEARCHES {
            ada.post_message("lobby", text).await;
        }
        let check = async |when: &str| {
            for (text, terms) in SEARCHES {
                for term in terms {
                    assert_eq!(found(&ada, term).await, [text], "{term:?} {when}");
                }
            }
        };
        check("before it is archived").await;
        while system.archive_once().await > 0 {}
        check("archived").await;
        // What an older version stored: the text itself, with an X around each character.
        system.execute("UPDATE message SET parts = 'XoXlXdX', fold_version = 0").await;
        assert_eq!(found(&ada, "ガイド").await, Vec::<String>::new());
        system.archive_once().await;
        check("after an upgrade").await;
        for term in ["", "a", "é", "1", "\u{3164}", "a\u{200B}", "#", "\0\0"] {
            let query: String = term.bytes().map(|byte| format!("%{byte:02X}")).collect();
            ada.get(&format!("/room/lobby/message/search?q={query}")).await.problem(422, "invalid-value");
        }
    }
}

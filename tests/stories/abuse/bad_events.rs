//! Invalid events and frames: each has its own error code. The socket stays open after an invalid event and
//! is closed after a protocol violation. No message of others is lost.

use protocol::{Role, RoomId, SessionId, UserId, token::Ticket};
use serde_json::{Value, json};
use stories::{Closed, Gateway, Socket, System, User, stories};
use tokio_tungstenite::tungstenite::Message;

/// A room with a socket that checks the order of events, and a socket that sends invalid input.
struct Fixture {
    gateway: Gateway,
    room: RoomId,
    mallory: User,
    socket: Socket,
    watcher: Socket,
    last: u64,
}

impl Fixture {
    async fn new(system: &System) -> Self {
        let gateway = system.start_gateway().await;
        let (ada, mallory) = (system.user("ada").await, system.user("mallory").await);
        let room = ada.create_room("lobby").await;
        let (socket, _) = mallory.join(&gateway, "lobby").await;
        let (watcher, joined) = ada.join(&gateway, "lobby").await;
        let last = joined["head"].as_u64().unwrap();
        Self { gateway, room, mallory, socket, watcher, last }
    }

    /// Asserts that the server still works, and that the room has no gap and no extra event.
    async fn still_works(mut self) {
        let sent =
            self.watcher.ok("send-msg", json!({ "roomId": self.room, "msg": "still here" })).await;
        let event = self.watcher.expect("receive-msg").await;
        assert_eq!((&event["seq"], &event["prev"]), (&sent["seq"], &json!(self.last)));
        let mut again = self.mallory.connect(&self.gateway).await;
        again.ok("join-room", self.mallory.join_data("lobby", Some(self.last)).await).await;
        again.expect("receive-msg").await;
    }
}

fn ticket(system: &System, user: &User, room: RoomId) -> Ticket {
    let claims = system.claims(user);
    Ticket {
        user: user.id,
        session: claims.session,
        room,
        role: Role::Member,
        version: 0,
        name: user.name.parse().unwrap(),
        exp: claims.exp,
    }
}

stories! {
    async fn unknown_events_and_fields_are_refused(system: System) {
        let mut fixture = Fixture::new(&system).await;
        let (socket, room) = (&mut fixture.socket, fixture.room);
        socket.refused("shout", json!({}), "unknown-event").await;
        socket
            .refused("send-msg", json!({ "roomId": room, "msg": "x", "seq": 7 }), "unknown-field")
            .await;
        socket
            .refused(
                "send-msg",
                json!({ "roomId": room, "msg": "x", "from": { "id": UserId::generate() } }),
                "unknown-field",
            )
            .await;
        socket.refused("leave-room", json!({}), "missing-field").await;
        fixture.still_works().await;
    }

    async fn wrong_types_are_refused(system: System) {
        let mut fixture = Fixture::new(&system).await;
        let (socket, room) = (&mut fixture.socket, fixture.room);
        for data in [
            json!(null),
            json!("text"),
            json!([room, "x"]),
            json!({ "roomId": room, "msg": 7 }),
            json!({ "roomId": room, "msg": "x", "replyTo": "7" }),
        ] {
            socket.refused("send-msg", data, "wrong-type").await;
        }
        socket.send(r#"42999["send-msg",{},{}]"#).await;
        assert_eq!(socket.ack(999).await["error"]["code"], "wrong-type", "one argument");
        fixture.still_works().await;
    }

    async fn invalid_names_and_ids_are_refused(system: System) {
        let mut fixture = Fixture::new(&system).await;
        let (socket, room) = (&mut fixture.socket, fixture.room);
        for name in ["", "   ", "a\u{202E}b", &"x".repeat(41)] {
            socket.refused("new", json!({ "roomId": room, "msg": name }), "invalid-value").await;
        }
        socket
            .refused("send-msg", json!({ "roomId": room, "msg": "x", "id": "7" }), "invalid-value")
            .await;
        socket.refused("send-msg", json!({ "roomId": room, "msg": "a\0b" }), "invalid-value").await;
        socket.refused("send-msg", json!({ "roomId": room, "msg": " \n" }), "message-empty").await;
        socket
            .refused(
                "send-msg",
                json!({ "roomId": room, "msg": "x".repeat(4_001) }),
                "message-too-long",
            )
            .await;
        fixture.still_works().await;
    }

    async fn room_ids_that_would_widen_a_subject_are_refused(system: System) {
        let mut fixture = Fixture::new(&system).await;
        for id in [
            "*",
            ">",
            "a.b",
            "chat.>",
            "a b",
            "",
            "../x",
            &format!("{}.x", fixture.room),
            &format!(" {}", fixture.room),
        ] {
            for (name, data) in [
                ("send-msg", json!({ "roomId": id, "msg": "x" })),
                ("leave-room", json!({ "roomId": id })),
                ("join-room", json!({ "roomId": id, "userId": fixture.mallory.id, "ticket": "x" })),
            ] {
                fixture.socket.refused(name, data, "bad-room-id").await;
            }
        }
        fixture.still_works().await;
    }

    async fn tokens_that_are_not_access_tokens_open_no_socket(system: System) {
        let fixture = Fixture::new(&system).await;
        let (base, user) = (fixture.gateway.base.clone(), &fixture.mallory);
        let expired = system.minter.access_until(user.id, SessionId::generate(), 1).unwrap();
        let (head, _) = user.access.rsplit_once('.').unwrap();
        for (auth, code) in [
            (json!({}), "token-missing"),
            (json!({ "token": null }), "token-missing"),
            (json!({ "token": 7 }), "wrong-type"),
            (json!({ "token": "nonsense" }), "token-invalid"),
            (json!({ "token": format!("{head}.AAAA") }), "token-invalid"),
            (json!({ "token": "eyJhbGciOiJub25lIn0.e30." }), "token-invalid"),
            (json!({ "token": user.refresh }), "token-invalid"),
            (json!({ "token": expired }), "token-expired"),
            (
                json!({ "token": system.ticket(user, fixture.room, Role::Owner) }),
                "token-wrong-kind",
            ),
        ] {
            let refused = Socket::try_connect(&base, auth.clone()).await.err().unwrap();
            assert_eq!(refused["data"]["code"], code, "{auth}: {refused}");
            assert!(refused["message"].is_string());
        }
        fixture.still_works().await;
    }

    async fn wrong_tickets_join_nothing(system: System) {
        let mut fixture = Fixture::new(&system).await;
        let eve = system.user("eve").await;
        let other = eve.create_room("other").await;
        let good = ticket(&system, &fixture.mallory, fixture.room);
        let sign = |ticket: Ticket| system.minter.sign_ticket(ticket).unwrap();
        let cases = [
            (sign(ticket(&system, &fixture.mallory, other)), "ticket-wrong-room"),
            (sign(ticket(&system, &eve, fixture.room)), "ticket-wrong-user"),
            (sign(Ticket { exp: 1, ..good }), "ticket-expired"),
            (fixture.mallory.access.clone(), "ticket-wrong-kind"),
            ("nonsense".to_owned(), "ticket-invalid"),
        ];
        for (ticket, code) in cases {
            let join =
                json!({ "roomId": fixture.room, "userId": fixture.mallory.id, "ticket": ticket });
            fixture.socket.refused("join-room", join, code).await;
        }
        let join = json!({ "roomId": fixture.room, "userId": eve.id, "ticket": "x" });
        fixture.socket.refused("join-room", join, "wrong-user").await;
        let unjoined = json!({ "roomId": other, "msg": "x" });
        fixture.socket.refused("send-msg", unjoined, "not-joined").await;
        fixture.still_works().await;
    }

    async fn oversized_and_invalid_frames_close_only_their_socket(system: System) {
        let fixture = Fixture::new(&system).await;
        for (message, code) in [
            (Message::text("x".repeat(64 * 1024 + 1)), 1009),
            (Message::text("not a packet"), 1002),
            (Message::text("42{\"not\":\"an array\"}"), 1002),
            (Message::text("42[\"send-msg\",{\"roomId\":"), 1002),
            (Message::text(format!("42[\"send-msg\",{}", "[".repeat(10_000))), 1002),
            (Message::text("451000-[\"x\"]"), 1002),
            (Message::binary(vec![1, 2, 3]), 1002),
        ] {
            let mut socket = fixture.mallory.connect(&fixture.gateway).await;
            socket.send_raw(message).await;
            assert_eq!(socket.closed().await, Closed::Code(code));
        }
        // An event before the namespace is connected.
        let mut early = Socket::open(&fixture.gateway.base).await;
        early.send("42[\"send-msg\",{}]").await;
        assert_eq!(early.closed().await, Closed::Code(1002));
        fixture.still_works().await;
    }

    async fn binary_events_are_refused_and_their_attachments_skipped(system: System) {
        let mut fixture = Fixture::new(&system).await;
        fixture.socket.send("451-7[\"send-msg\",{\"_placeholder\":true,\"num\":0}]").await;
        fixture.socket.send_raw(Message::binary(vec![0; 100])).await;
        assert_eq!(fixture.socket.ack(7).await["error"]["code"], "unexpected-binary");
        fixture.still_works().await;
    }

    async fn events_above_the_rate_are_refused_one_by_one(system: System) {
        let mut fixture = Fixture::new(&system).await;
        let typing = json!({ "roomId": uuid::Uuid::now_v7(), "on": true });
        let mut acks = Vec::new();
        for _ in 0..80 {
            acks.push(fixture.socket.emit("typing", typing.clone()).await);
        }
        let mut codes: Vec<Value> = Vec::new();
        for ack in acks {
            codes.push(fixture.socket.ack(ack).await["error"]["code"].clone());
        }
        assert_eq!(codes[0], "not-joined");
        assert_eq!(codes[79], "rate-limited");
        fixture.still_works().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthenticated_sockets_and_foreign_origins_are_refused() {
    let mut system = System::new(stories::Database::Sqlite).await;
    system.set_variable("LIMIT_HANDSHAKE_SECONDS", "1");
    let gateway = system.start_gateway().await;
    let mut silent = Socket::open(&gateway.base).await;
    assert_eq!(silent.closed().await, Closed::Code(1008));
    let handshake = |query: &str, origin: &str| {
        system.http.get(format!("{}/socket.io/?{query}", gateway.base)).header("origin", origin)
    };
    for (query, origin, status, code) in [
        ("EIO=4&transport=websocket", "https://evil.example", 403, 4),
        ("EIO=3&transport=websocket", system.base.as_str(), 400, 5),
        ("EIO=4&transport=carrier-pigeon", system.base.as_str(), 400, 0),
        ("EIO=4&transport=websocket&sid=x", system.base.as_str(), 400, 1),
        ("EIO=4&transport=websocket", system.base.as_str(), 400, 3),
    ] {
        let answer = stories::Answer::of(handshake(query, origin)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["code"]),
            (status, &json!(code)),
            "{query} {origin}"
        );
    }
}

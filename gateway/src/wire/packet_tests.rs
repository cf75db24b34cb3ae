use proptest::prelude::*;

use super::*;

#[test]
fn the_examples_of_the_protocol_documents_are_parsed() {
    assert!(matches!(EnginePacket::parse("3"), Ok(EnginePacket::Pong)));
    assert!(matches!(EnginePacket::parse("4x"), Ok(EnginePacket::Message("x"))));
    let connect = Packet::parse(r#"0{"token":"123"}"#).unwrap();
    assert_eq!(connect, Packet::new(Kind::Connect, None, r#"{"token":"123"}"#));
    let connect = Packet::parse("0/admin?token=1234&uid=abcd,").unwrap();
    assert_eq!((connect.namespace, &*connect.data), ("/admin", ""));
    assert_eq!(Packet::parse("1"), Ok(Packet::new(Kind::Disconnect, None, "")));

    let packet = Packet::parse(r#"2456["project:delete",123]"#).unwrap();
    let event = packet.event().unwrap();
    assert_eq!(
        (packet.ack, event.name.as_str(), event.extra),
        (Some(456), "project:delete", false)
    );
    assert_eq!(event.data.map(RawValue::get), Some("123"));

    let packet = Packet::parse(r#"51-["hello",{"_placeholder":true,"num":0}]"#).unwrap();
    assert_eq!((packet.kind, packet.attachments, packet.ack), (Kind::Event, 1, None));
    let packet = Packet::parse(r#"61-/admin,456[{"_placeholder":true,"num":0}]"#).unwrap();
    assert_eq!((packet.kind, packet.namespace, packet.ack), (Kind::Ack, "/admin", Some(456)));
    assert_eq!(Packet::parse("3456[]"), Ok(Packet::new(Kind::Ack, Some(456), "[]")));
}

#[test]
fn binary_as_base64_is_decoded() {
    for (text, bytes) in [
        ("bAQIDBA==", &[1, 2, 3, 4][..]),
        ("bAQIDBA", &[1, 2, 3, 4]),
        ("b", &[]),
        ("b+/+/", &[0xFB, 0xFF, 0xBF]),
    ] {
        let bytes = Bytes::copy_from_slice(bytes);
        assert_eq!(EnginePacket::parse(text), Ok(EnginePacket::Binary(bytes)), "{text}");
    }
}

#[test]
fn an_invalid_packet_is_a_violation() {
    for bad in ["", "0", "5x", "7", "x", "é", "b!", "bAQ=ID", "bé"] {
        assert!(EnginePacket::parse(bad).is_err(), "{bad}");
    }
    for bad in [
        "",
        "9",
        "x",
        "abc",
        "0[]",
        "0null",
        "07",
        "07{}",
        "0\"a\"",
        "0{",
        "0{}{}",
        "1{}",
        "2",
        "2{}",
        "2[]",
        "2[7]",
        "2[\"a\"",
        "2x[\"a\"]",
        "2/x[\"a\"]",
        "299999999999999999999[\"a\"]",
        "3[]",
        "31{}",
        "4{}",
        "5[\"a\"]",
        "50-[\"a\"]",
        "5-1-[\"a\"]",
        "5999999-[\"a\"]",
        "51-[7]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":1}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":-1}]",
        "51-[\"a\",[{\"x\":{\"_placeholder\":true}}]]",
        "61-[]",
        "61-1{}",
    ] {
        assert!(Packet::parse(bad).is_err(), "{bad}");
    }
    let deep = format!("51-[\"a\",{}{}]", "[".repeat(10_000), "]".repeat(10_000));
    assert!(Packet::parse(&deep).is_err());
}

fn json(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(depth, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "[0-9]{0,3}[-/,a-z]{0,4}\\PC{0,40}", any in "\\PC{0,20}") {
        let _ = (Packet::parse(&text), Packet::parse(&any), EnginePacket::parse(&any));
    }

    #[test]
    fn an_encoded_packet_is_parsed_back(
        is_event: bool,
        attachments in 0..=MAX_ATTACHMENTS,
        namespace in "/|/[a-z]{1,8}",
        ack: Option<u64>,
        name in ".{0,12}",
        arguments in prop::collection::vec(json(3), 0..3),
    ) {
        let mut all = vec![Value::from(name)];
        all.extend(arguments);
        all.extend((0..attachments).map(|num| serde_json::json!({ "_placeholder": true, "num": num })));
        let (kind, ack) = if is_event { (Kind::Event, ack) } else { (Kind::Ack, ack.or(Some(0))) };
        let data = Value::from(all).to_string().into();
        let packet = Packet { kind, attachments, namespace: &namespace, ack, data };
        let text = packet.encode();
        prop_assert_eq!(Packet::parse(&text), Ok(packet.clone()));
    }

    #[test]
    fn connects_and_disconnects_are_parsed_back(namespace in "/|/[a-z]{1,8}", token in ".{0,20}") {
        for (kind, data) in [
            (Kind::Connect, String::new()),
            (Kind::Connect, serde_json::json!({ "token": token }).to_string()),
            (Kind::Disconnect, String::new()),
        ] {
            let packet = Packet { kind, attachments: 0, namespace: &namespace, ack: None, data: data.into() };
            let text = packet.encode();
            prop_assert_eq!(Packet::parse(&text), Ok(packet.clone()));
        }
    }
}

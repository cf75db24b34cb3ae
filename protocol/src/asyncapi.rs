//! The AsyncAPI 3.0 document of the Socket.IO events, generated from their types
//! (<https://www.asyncapi.com/docs/reference/specification/v3.0.0>). Its application is the gateway, which
//! receives client events and sends server events.

use serde_json::{Map, Value, json};

use crate::{
    RoomId, Seq,
    code::Refusal,
    event::{ClientEvent, ServerEvent},
    schema::{EventSchema, Schemas, schema_of},
    stored::StoredEvent,
};

/// Generates the document for gateways at a host, such as `chat.example:8443`. `protocol` is `ws` or `wss`.
pub fn document(protocol: &str, host: &str) -> Value {
    let mut all = Schemas::new();
    let (mut messages, mut operations) = (Map::new(), Map::new());
    let refusal = schema_of::<Refusal>(&mut all);
    all.insert("Refusal".into(), refusal);
    for EventSchema { name, schema, answer } in ClientEvent::schemas() {
        let event = format!("client.{name}");
        let ack = format!("{event}.ack");
        messages.insert(event.clone(), message(name, schema(&mut all)));
        messages.insert(ack.clone(), message(name, acknowledgement(answer(&mut all))));
        operations.insert(
            format!("receive.{name}"),
            json!({
                "action": "receive",
                "channel": channel(),
                "messages": [in_channel(&event)],
                "reply": { "channel": channel(), "messages": [in_channel(&ack)] },
            }),
        );
    }
    let live = variants(&schema_of::<ServerEvent>(&mut all));
    let stored = variants(&schema_of::<StoredEvent>(&mut all));
    let stored = stored.into_iter().map(|(name, schema)| (name, with_position(schema, &mut all)));
    for (name, schema) in live.into_iter().chain(stored.collect::<Vec<_>>()) {
        let event = format!("server.{name}");
        messages.insert(event.clone(), message(&name, schema));
        let operation =
            json!({ "action": "send", "channel": channel(), "messages": [in_channel(&event)] });
        operations.insert(format!("send.{name}"), operation);
    }
    let refs: Map<String, Value> = messages
        .keys()
        .map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    let mut document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Chatting-room, live events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Socket.IO protocol 5 on Engine.IO 4, over WebSocket or HTTP long-polling. \
                The access token goes into the handshake's auth: {token}. Every message is one event \
                with one argument, its payload; the answer is the event's acknowledgement. \
                Ids are UUIDs: upper and lower case are the same id, and events have lower case.",
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": {
                "host": host,
                "protocol": protocol,
                "description": "The gateways. HTTP long-polling uses the same host and path.",
                "security": [{ "$ref": "#/components/securitySchemes/access" }],
            },
        },
        "channels": {
            "socket": {
                "address": "/socket.io/",
                "title": "Namespace /",
                "servers": [{ "$ref": "#/servers/gateway" }],
                "messages": refs,
            },
        },
        "operations": operations,
        "components": { "messages": messages, "schemas": all, "securitySchemes": { "access": access() } },
    });
    separate_references(&mut document);
    document
}

/// Moves the other fields of a reference out of it. AsyncAPI ignores them in a reference, unlike OpenAPI 3.1.
fn separate_references(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(separate_references);
            if fields.len() > 1
                && let Some(target) = fields.remove("$ref")
            {
                fields.insert("allOf".into(), json!([{ "$ref": target }]));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(separate_references),
        _ => {}
    }
}

fn access() -> Value {
    json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token, as `token` in the `auth` object of the Socket.IO handshake.",
    })
}

fn channel() -> Value {
    json!({ "$ref": "#/channels/socket" })
}

fn in_channel(message: &str) -> Value {
    json!({ "$ref": format!("#/channels/socket/messages/{message}") })
}

fn message(name: &str, mut payload: Value) -> Value {
    let summary = payload.as_object_mut().and_then(|payload| payload.remove("description"));
    let mut message = json!({ "name": name, "title": name, "payload": payload });
    if let Some(summary) = summary {
        message["summary"] = summary;
    }
    message
}

fn acknowledgement(mut done: Value) -> Value {
    done["type"] = json!("object");
    done["properties"]["ok"] = json!({ "const": true });
    if let Some(required) = done["required"].as_array_mut() {
        required.insert(0, json!("ok"));
    } else {
        done["required"] = json!(["ok"]);
    }
    let refused = json!({
        "type": "object",
        "required": ["ok", "error"],
        "properties": { "ok": { "const": false }, "error": { "$ref": "#/components/schemas/Refusal" } },
    });
    json!({ "oneOf": [done, refused] })
}

/// The schemas of an event enum's variants by their wire names, without the tags that serde adds.
fn variants(schema: &Value) -> Vec<(String, Value)> {
    let each = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let named = each.into_iter().filter_map(|variant| {
        let fields = variant["properties"].as_object()?;
        let (name, mut fields) = match fields.get("0") {
            Some(tag) => (tag["enum"][0].as_str()?.to_owned(), fields.get("1")?.clone()),
            None => fields.iter().next().map(|(name, fields)| (name.clone(), fields.clone()))?,
        };
        if let Some(description) = variant.get("description") {
            fields["description"] = description.clone();
        }
        Some((name, fields))
    });
    named.collect()
}

/// The schema of a stored event as a client receives it: with room, seq and prev.
fn with_position(schema: Value, all: &mut Schemas) -> Value {
    let room = schema_of::<RoomId>(all);
    let seq = |what: &str| json!({ "type": "integer", "minimum": 0, "maximum": Seq::MAX, "description": what });
    let place = json!({
        "type": "object",
        "required": ["roomId", "seq", "prev"],
        "properties": {
            "roomId": room,
            "seq": seq("The event's place in its room."),
            "prev": seq("The seq of the room's event before it; 0 for none."),
        },
    });
    let description = schema.get("description").cloned();
    let mut both = json!({ "allOf": [place, schema] });
    if let Some(description) = description {
        both["description"] = description;
    }
    both
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    assert_eq!(fields.len(), 1, "other fields of {reference} are ignored");
                    found.insert(reference.to_owned());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_event_is_documented_and_every_component_is_used() {
        let document = document("wss", "chat.example");
        let operations: BTreeSet<&str> =
            document["operations"].as_object().unwrap().keys().map(String::as_str).collect();
        for name in ClientEvent::NAMES {
            assert!(operations.contains(format!("receive.{name}").as_str()), "{name}");
        }
        let sent = operations.iter().filter(|name| name.starts_with("send.")).count();
        assert_eq!(sent, 10 + 7, "{operations:?}");
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for kind in ["schemas", "messages", "securitySchemes"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(
                    found.contains(&format!("#/components/{kind}/{name}")),
                    "{name} is not used"
                );
            }
        }
    }

    #[test]
    fn an_event_is_described_as_it_is_sent() {
        let document = document("wss", "chat.example");
        let payload = |name: &str| document["components"]["messages"][name]["payload"].clone();
        let join = payload("client.join-room");
        assert_eq!(join["required"], json!(["roomId", "userId", "ticket"]));
        assert_eq!(join["additionalProperties"], false);
        let ack = payload("client.join-room.ack");
        assert_eq!(ack["oneOf"][0]["required"], json!(["ok", "head", "online", "recovered"]));
        let lag = payload("server.lag");
        assert_eq!(lag["required"], json!(["roomId", "last"]));
        let edited = payload("server.msg-edited");
        assert_eq!(edited["allOf"][1]["required"], json!(["target", "msg", "by", "at"]));
    }
}

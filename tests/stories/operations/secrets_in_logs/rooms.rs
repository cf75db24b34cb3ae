//! Requests and socket events in a room, with texts that must not be logged.

use reqwest::header;
use serde_json::{Value, json};
use stories::{Socket, System, User};

use super::secrets::Secrets;

/// Creates a room with a password and sends messages over HTTP; returns the `join-room` data of both.
pub async fn use_room(ada: &User, bob: &User, secrets: &mut Secrets) -> [Value; 2] {
    let [password, title] =
        [("a room's password", "sesame, open"), ("a room's title", "the engine room")]
            .map(|(what, text)| secrets.keep(what, text));
    let name = secrets.keep("a room's name", "analytical-engine");
    ada.post("/room", json!({ "name": name, "title": title, "password": password })).await.ok();
    let path = format!("/room/{name}");
    let members = format!("{path}/member");
    let wrong = secrets.keep("a wrong password", "sesame, close");
    bob.post(&members, json!({ "password": wrong })).await.problem(403, "wrong-password");
    bob.post(&members, json!({ "password": password })).await.ok();
    let said = secrets.keep("a message", "said without a socket");
    ada.post_message(&name, &said).await;
    let notice = secrets.keep("a notice", "noticed by everybody");
    ada.post(&format!("{path}/broadcast"), json!({ "msg": notice })).await.ok();
    ada.get(&format!("{path}/message/search?q=without+a+socket")).await.ok();
    ada.get(&format!("{path}/message?before={}", secrets.keep("a bad number", "before-the-flood")))
        .await
        .problem(422, "invalid-value");
    let patched = secrets.keep("a room's password", "sesame, anew");
    ada.patch(&path, json!({ "password": patched })).await.ok();
    let mut joins = [ada.join_data(&name, Some(0)).await, bob.join_data(&name, None).await];
    for join in &mut joins {
        secrets.keep("a ticket", join["ticket"].as_str().unwrap());
    }
    joins
}

/// Uploads and downloads a file.
pub async fn transfer_file(system: &System, ada: &User, secrets: &mut Secrets) {
    let name = secrets.keep("a file's name", "notes on the engine.txt");
    let content = secrets.keep("a file's content", "Note G, in her own words");
    let declare = json!({ "name": name, "size": content.len(), "type": "text/plain" });
    let declared = ada.post("/room/analytical-engine/file", declare).await.ok();
    let url = secrets.keep_signature(&declared["upload"]["url"]);
    let mut put = system.http.put(url).body(content);
    for (name, value) in declared["upload"]["headers"].as_object().unwrap() {
        put = put.header(name, value.as_str().unwrap());
    }
    assert!(put.send().await.unwrap().status().is_success());
    let path = format!("/file/{}", declared["file"]["id"].as_str().unwrap());
    ada.post(&format!("{path}/complete"), json!({})).await.ok();
    let link = ada.get(&path).await;
    let link = secrets.keep_signature(&json!(link.headers[header::LOCATION].to_str().unwrap()));
    assert!(system.http.get(link).send().await.unwrap().status().is_success());
}

/// Sends every kind of event over sockets, and some that are refused.
pub async fn use_sockets(
    gateway: &str,
    [ada, bob]: [&User; 2],
    joins: &[Value; 2],
    secrets: &mut Secrets,
) -> [Socket; 2] {
    let room = &joins[0]["roomId"];
    let [mut a, mut b] =
        [Socket::connect(gateway, &ada.access).await, Socket::connect(gateway, &bob.access).await];
    a.ok("join-room", joins[0].clone()).await;
    b.ok("join-room", joins[1].clone()).await;
    let mut text = |what, text| secrets.keep(what, text);
    a.ok("new", json!({ "roomId": room, "msg": text("a display name", "A. A. Lovelace") })).await;
    let sent = json!({ "roomId": room, "msg": text("a message", "said over a socket") });
    let seq = a.ok("send-msg", sent).await["seq"].clone();
    let edited = text("a message", "said a little better");
    a.ok("edit-msg", json!({ "roomId": room, "seq": seq, "msg": edited })).await;
    b.ok("react", json!({ "roomId": room, "seq": seq, "emoji": "👍", "on": true })).await;
    b.ok("read", json!({ "roomId": room, "seq": seq })).await;
    b.ok("typing", json!({ "roomId": room, "on": true })).await;
    a.ok(
        "room-broadcast",
        json!({ "roomId": room, "msg": text("a notice", "hear, hear, all of you") }),
    )
    .await;
    let data = text("a signal", "candidate:842163049");
    a.ok("signal", json!({ "roomId": room, "to": bob.id, "data": { "ice": data } })).await;
    b.expect("signal").await;
    a.ok("delete-msg", json!({ "roomId": room, "seq": seq })).await;
    a.ok("refresh", json!({ "token": ada.access })).await;
    a.refused(
        "refresh",
        json!({ "token": text("a bad token", "refreshed-with-this") }),
        "token-invalid",
    )
    .await;
    let forged = json!({ "roomId": room, "userId": ada.id, "ticket": text("a bad ticket", "a-forged-ticket") });
    a.refused("join-room", forged, "ticket-invalid").await;
    a.refused(&text("an event's name", "whisper-to-bob"), json!({}), "unknown-event").await;
    let wrong = json!({ "roomId": room, "mgs": text("a message", "in another field of it") });
    a.call("send-msg", wrong).await;
    let mut broken = Socket::connect(gateway, &bob.access).await;
    broken
        .send(&format!(
            "42[\"send-msg\",{{\"msg\":\"{}\"",
            text("a message", "broken off after it")
        ))
        .await;
    broken.closed().await;
    [a, b]
}

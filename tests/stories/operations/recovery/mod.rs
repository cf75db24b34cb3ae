//! Disks that are lost, or restored to an earlier state. Only what infra/README.md names is lost, and
//! nothing that is acknowledged afterwards.

mod backup;
mod database;
mod nats;
mod storage;

use protocol::RoomId;
use provision::Recovery;
use serde_json::json;
use stories::{Answer, Gateway, Socket, System, User, eventually};

const ADVANCE: Recovery = Recovery { advance: true, replay: false, is_asked: false };

pub async fn texts(user: &User, after: u64) -> Vec<String> {
    let page = user.get(&format!("/room/lobby/message?limit=200&after={after}")).await.ok();
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["msg"].as_str().unwrap().to_owned()).collect()
}

pub async fn send_all(user: &User, texts: &[&str]) -> Vec<u64> {
    let mut seqs = Vec::new();
    for text in texts {
        seqs.push(user.post_message("lobby", text).await);
    }
    seqs
}

pub async fn archive_all(system: &System) {
    while system.archive_once().await > 0 {}
}

pub async fn try_to_send(user: &User, text: &str) -> Answer {
    let body = json!({ "id": uuid::Uuid::now_v7(), "msg": text });
    user.post("/room/lobby/message", body).await
}

/// Retries with new messages until the functions accept one; returns its seq.
pub async fn send_when_accepted(user: &User, text: &str) -> u64 {
    let sent = eventually("a message to be accepted", || async {
        let sent = try_to_send(user, text).await;
        (sent.status == 201).then_some(sent)
    })
    .await;
    sent.ok()["seq"].as_u64().unwrap()
}

pub async fn is_ready(system: &System, gateway: Option<&Gateway>) -> bool {
    let base = gateway.map_or(&system.base, |gateway| &gateway.base);
    let ready = Answer::of(system.http.get(format!("{base}/readyz"))).await;
    ready.status.is_success()
}

/// A socket that survived receives `lag`, joins again, reads the missed pages, and receives new events.
pub async fn joins_again_and_continues(
    user: &User,
    socket: &mut Socket,
    room: RoomId,
    last: u64,
    missed: &[&str],
) {
    let lag = socket.expect("lag").await;
    assert_eq!(lag, json!({ "roomId": room, "last": last }));
    let joined = socket.ok("join-room", user.join_data("lobby", Some(last)).await).await;
    assert_eq!(joined["recovered"], false);
    assert_eq!(texts(user, last).await, missed);
    let head = joined["head"].as_u64().unwrap();
    let next = user.post_message("lobby", "next").await;
    let event = socket.expect_where("receive-msg", |data| data["msg"] == "next").await;
    assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(head)));
}

//! Users who send messages all the time, over HTTP, over sockets and with files, and repeat what was refused.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use stories::{Answer, Api, POLL_INTERVAL, Socket, User, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The pause of a sender between two messages.
const PAUSE: Duration = Duration::from_millis(5);

/// An acknowledged message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    pub seq: u64,
    pub text: String,
}

/// Senders that run until [`Traffic::stop`].
#[derive(Clone, Default)]
pub struct Traffic {
    end: CancellationToken,
    acknowledged: Arc<Mutex<Vec<Sent>>>,
    senders: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Traffic {
    /// Everything that is acknowledged so far, by seq.
    pub fn acknowledged(&self) -> Vec<Sent> {
        let mut sent = self.acknowledged.lock().unwrap().clone();
        sent.sort();
        sent
    }

    /// Waits until this many more messages are acknowledged.
    pub async fn makes_progress(&self, messages: usize) {
        let enough = self.acknowledged.lock().unwrap().len() + messages;
        eventually("messages to be acknowledged", || async {
            (self.acknowledged.lock().unwrap().len() >= enough).then_some(())
        })
        .await;
    }

    /// Ends all senders, each after its current message is acknowledged.
    pub async fn stop(&self) {
        self.end.cancel();
        let senders = std::mem::take(&mut *self.senders.lock().unwrap());
        for sender in senders {
            sender.await.unwrap();
        }
    }

    /// Sends messages over HTTP.
    pub fn send_by_http(&self, user: User) {
        let traffic = self.clone();
        self.spawn(async move {
            let mut number = 0;
            while traffic.is_wanted().await {
                let text = format!("http {} {number}", user.name);
                let body = json!({ "id": uuid::Uuid::now_v7(), "msg": text });
                let seq = post_until_stored(&user, &body).await;
                traffic.record(seq, text);
                number += 1;
            }
        });
    }

    /// Sends messages over a socket, which must stay connected.
    pub fn send_by_socket(&self, user: User, base: String) {
        let traffic = self.clone();
        self.spawn(async move {
            let mut socket = Socket::connect(&base, &user.access).await;
            let join = user.join_data("lobby", None).await;
            let room = join["roomId"].clone();
            socket.ok("join-room", join).await;
            let mut number = 0;
            while traffic.is_wanted().await {
                let text = format!("socket {} {number}", user.name);
                let message =
                    json!({ "roomId": room, "id": uuid::Uuid::now_v7().to_string(), "msg": text });
                let stored = loop {
                    let ack = socket.call("send-msg", message.clone()).await;
                    if ack["ok"] == true {
                        break ack;
                    }
                    assert_eq!(ack["error"]["code"], "unavailable", "{ack}");
                    tokio::time::sleep(POLL_INTERVAL).await;
                };
                socket.forget();
                traffic.record(stored["seq"].as_u64().unwrap(), text);
                number += 1;
            }
        });
    }

    /// Uploads files and sends each with a message. Text and content are the file's name.
    pub fn send_files(&self, user: User, api: Api) {
        let traffic = self.clone();
        self.spawn(async move {
            let mut number = 0;
            while traffic.is_wanted().await {
                let name = format!("file-{}-{number}.txt", user.name);
                let file = json!({ "name": name, "size": name.len(), "type": "text/plain" });
                let declared = user.post("/room/lobby/file", file).await.ok();
                assert!(api.upload(&declared, name.as_bytes()).await.is_success());
                let id = declared["file"]["id"].as_str().unwrap();
                user.post(&format!("/file/{id}/complete"), json!({})).await.ok();
                let body = json!({ "id": uuid::Uuid::now_v7(), "msg": name, "fileId": id });
                let seq = post_until_stored(&user, &body).await;
                traffic.record(seq, name);
                number += 1;
            }
        });
    }

    fn spawn(&self, sender: impl Future<Output = ()> + Send + 'static) {
        self.senders.lock().unwrap().push(tokio::spawn(sender));
    }

    async fn is_wanted(&self) -> bool {
        self.end.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some()
    }

    fn record(&self, seq: u64, text: String) {
        self.acknowledged.lock().unwrap().push(Sent { seq, text });
    }
}

/// Sends a message until it is stored; returns its seq.
async fn post_until_stored(user: &User, body: &Value) -> u64 {
    loop {
        let answer = user.post("/room/lobby/message", body.clone()).await;
        if answer.status == 201 {
            return answer.body["seq"].as_u64().unwrap();
        }
        answer.problem(503, "unavailable");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// All messages of the room `lobby`, oldest first.
pub async fn history(user: &User) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    let mut after = 0;
    loop {
        let page = user.get(&format!("/room/lobby/message?limit=200&after={after}")).await.ok();
        let items = page["items"].as_array().unwrap();
        let Some(last) = items.last() else { return messages };
        after = last["seq"].as_u64().unwrap();
        messages.extend_from_slice(items);
    }
}

/// The seqs and texts of messages.
pub fn sent(messages: &[Value]) -> Vec<Sent> {
    let sent = messages.iter().map(|message| Sent {
        seq: message["seq"].as_u64().unwrap(),
        text: message["msg"].as_str().unwrap().to_owned(),
    });
    sent.collect()
}

/// Downloads the file of a message.
pub async fn download(user: &User, message: &Value) -> String {
    let id = message["file"]["id"].as_str().unwrap();
    let link = user.request(reqwest::Method::GET, &format!("/file/{id}"));
    let link = Answer::of(link.header("accept", "application/json")).await.ok();
    let answer = reqwest::get(link["url"].as_str().unwrap()).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.text().await.unwrap()
}

//! The nats-server of `local` is killed again and again while users send: it is started again each time.

use std::path::Path;

use serde_json::json;
use stories::{Socket, User, eventually, free_address, signal};

use super::start;
use crate::operations::{
    processes::nats_of,
    traffic::{Traffic, history, sent},
};

const KILLS: usize = 5;
const LAST: &str = "the last message";

/// Receives all messages until the last one; returns the chain of `(prev, seq)`. A gap that the gateway cannot fill
/// would be reported as `lag`.
async fn receive_all(mut socket: Socket) -> Vec<(u64, u64)> {
    let mut chain = Vec::new();
    loop {
        let (name, event) = socket.expect_one_of(&["receive-msg", "member-joined", "lag"]).await;
        assert_ne!(name, "lag");
        chain.push((event["prev"].as_u64().unwrap(), event["seq"].as_u64().unwrap()));
        if event["msg"] == LAST {
            return chain;
        }
    }
}

async fn readiness(user: &User) -> (u16, bool) {
    let ready = user.get("/readyz").await;
    (ready.status.as_u16(), ready.body["nats"] == true)
}

/// Waits until a new nats-server runs in place of the killed one.
async fn restarted(data: &Path, killed: u32) -> u32 {
    eventually("a new nats-server", || async { nats_of(data).filter(|process| *process != killed) })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nats_server_is_restarted_and_no_message_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let metrics = free_address();
    let (mut local, api) = start(data.path(), &[("METRICS_LISTEN", &metrics)]).await;
    let ada = api.user("ada").await;
    ada.create_room("lobby").await;
    let mut socket = Socket::connect(&api.base, &ada.access).await;
    let joined = socket.ok("join-room", ada.join_data("lobby", None).await).await;
    let receiving = tokio::spawn(receive_all(socket));
    let traffic = Traffic::default();
    for name in ["bob", "cyd"] {
        let user = api.user(name).await;
        user.enter("lobby").await;
        traffic.send_by_http(user.clone());
        traffic.send_by_socket(user, api.base.clone());
    }
    let mut nats = nats_of(data.path()).unwrap();
    for _ in 0..KILLS {
        traffic.makes_progress(20).await;
        signal(nats, "-KILL");
        // The delay before a restart doubles, so the last outages are long enough to be seen.
        eventually("functions that report the outage", || async {
            (readiness(&ada).await == (503, false) || nats_of(data.path()) != Some(nats))
                .then_some(())
        })
        .await;
        nats = restarted(data.path(), nats).await;
    }
    traffic.makes_progress(20).await;
    traffic.stop().await;
    ada.post_message("lobby", LAST).await;
    assert_eq!(readiness(&ada).await, (200, true));
    let scrape = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap();
    let restarts = format!("chat_nats_server_restarts_total {KILLS}\n");
    assert!(scrape.text().await.unwrap().contains(&restarts));

    let mut stored = sent(&history(&ada).await);
    assert_eq!(stored.pop().unwrap().text, LAST);
    assert_eq!(stored, traffic.acknowledged(), "each message is stored once, at its seq");
    let mut prev = joined["head"].as_u64().unwrap();
    for (before, seq) in receiving.await.unwrap() {
        assert_eq!(before, prev);
        prev = seq;
    }
    assert_eq!(json!(prev), history(&ada).await.last().unwrap()["seq"]);
    signal(local.id().unwrap(), "-TERM");
    assert!(local.wait().await.unwrap().success());
    assert_eq!(nats_of(data.path()), None);
}

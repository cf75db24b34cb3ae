//! Three NATS servers behind TLS, as infra/compose.cluster.yaml and infra/compose.tls.yaml configure them.

use std::net::{Ipv4Addr, SocketAddr};

use reqwest::Certificate;
use serde_json::{Value, json};
use stories::{Api, DEADLINE, Socket, User, eventually};

use crate::{
    compose::Compose,
    system::{CONTENT, download, share_file, texts},
};

#[tokio::test]
async fn a_cluster_serves_over_tls() {
    let compose = Compose::running();
    let api = over_tls(&compose);
    let ada = api.user("ada").await;
    ada.create_room("lobby").await;
    polling_reaches_a_gateway(&api).await;
    let file = share_file(&api, &ada).await;
    assert_eq!(download(&api, &ada, &file).await, CONTENT);
    let streams = streams(&compose);
    assert_eq!(streams["CHAT_0"]["config"]["num_replicas"], 3);
    assert_eq!(streams["KV_revoked"]["config"]["num_replicas"], 3);
    kill_the_leader(&compose, &ada, &streams["CHAT_0"]).await;
}

/// A client that trusts only Caddy's CA.
fn over_tls(compose: &Compose) -> Api {
    let root = "/data/caddy/pki/authorities/local/root.crt";
    let root = compose.run(&["exec", "-T", "front", "cat", root]);
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(DEADLINE)
        .tls_certs_only([Certificate::from_pem(root.as_bytes()).unwrap()])
        // Not every resolver knows names below `localhost`.
        .resolve("files.localhost", SocketAddr::from((Ipv4Addr::LOCALHOST, 443)));
    Api { http: http.build().unwrap(), base: "https://localhost".to_owned() }
}

async fn polling_reaches_a_gateway(api: &Api) {
    let url = format!("{}/socket.io/?EIO=4&transport=polling", api.base);
    let response = api.http.get(url).send().await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("chat_gateway") && cookie.contains("Secure"), "{cookie}");
    assert!(response.text().await.unwrap().starts_with("0{"));
}

/// The account's streams by name, as a server's monitoring reports them.
fn streams(compose: &Compose) -> Value {
    let url = "http://127.0.0.1:8222/jsz?accounts=true&streams=true&config=true";
    let answer = compose.run(&["exec", "-T", "nats", "wget", "-q", "-O", "-", url]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let accounts = answer["account_details"].as_array().unwrap().iter();
    let streams = accounts.flat_map(|account| account["stream_detail"].as_array().unwrap());
    streams.map(|stream| (stream["name"].as_str().unwrap().to_owned(), stream.clone())).collect()
}

/// Messages go on while the server that leads the stream is away, and none is lost.
async fn kill_the_leader(compose: &Compose, ada: &User, stream: &Value) {
    let leader = match stream["cluster"]["leader"].as_str().unwrap() {
        "nats-1" => "nats",
        leader => leader,
    };
    let mut socket = Socket::connect(&compose.address(), &ada.access).await;
    socket.ok("join-room", ada.join_data("lobby", None).await).await;
    ada.post_message("lobby", "before").await;
    assert_eq!(socket.expect("receive-msg").await["msg"], "before");
    compose.run(&["kill", leader]);
    let body = json!({ "id": uuid::Uuid::now_v7(), "msg": "after" });
    eventually("a send without the leader", || async {
        let answer = ada.post("/room/lobby/message", body.clone()).await;
        answer.status.is_success().then_some(())
    })
    .await;
    assert_eq!(socket.expect("receive-msg").await["msg"], "after");
    assert_eq!(texts(ada).await, ["before", "after"]);
    compose.run(&["start", leader]);
    compose.healthy(leader).await;
}

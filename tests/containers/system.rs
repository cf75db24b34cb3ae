//! The compose file with SeaweedFS and monitoring: sign-up, files, gateways, crashes, restarts, rate limits, logs.

use serde_json::{Value, json};
use stories::{Answer, Api, PASSWORD, Socket, User, eventually};

use crate::{compose::Compose, storage_rights};

pub const CONTENT: &[u8] = b"abc";
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// All messages before everything is restarted, in order.
const TEXTS: [&str; 4] =
    ["before the stop", "after the stop", "before the crash", "after the crash"];

#[tokio::test]
async fn the_compose_file_serves_a_chat() {
    let compose = Compose::running();
    let api = Api::new(&compose.address());
    assert_all_healthy(&compose);
    let ada = api.user("ada").await;
    api.user("bob").await;
    ada.create_room("lobby").await;
    let file = share_file(&api, &ada).await;
    storage_rights::each_user_has_only_its_rights(&compose).await;
    prometheus_scrapes_all_processes(&compose).await;
    stop_a_gateway(&compose, &ada).await;
    kill_nats(&compose, &ada).await;
    // The connections that this client keeps open end with the containers.
    let api = Api::new(&compose.address());
    restart_everything(&compose, &api, &file).await;
    wrong_passwords_delay_one_address(&compose, &api).await;
    assert_no_secret_in_logs(&compose);
}

fn assert_all_healthy(compose: &Compose) {
    let states = compose.states();
    let running = [
        "archive",
        "front",
        "functions",
        "gateway-1",
        "gateway-2",
        "nats",
        "postgres",
        "prometheus",
        "storage",
    ];
    for service in running {
        assert_eq!(states[service], ("running".to_owned(), "healthy".to_owned()), "{service}");
    }
    assert_eq!(states["provision"].0, "exited");
}

/// Prometheus reaches the metrics of every process and has loaded the alert rules.
async fn prometheus_scrapes_all_processes(compose: &Compose) {
    let ask = |path: &str| {
        let url = format!("http://127.0.0.1:9090/api/v1/{path}");
        let answer = compose.run(&["exec", "-T", "prometheus", "wget", "-q", "-O", "-", &url]);
        serde_json::from_str::<Value>(&answer).unwrap()["data"].take()
    };
    let up = || async {
        let targets = ask("targets?state=active")["activeTargets"].take();
        let targets = targets.as_array().unwrap();
        assert_eq!(targets.len(), 4, "two gateways, functions, archive");
        targets.iter().all(|target| target["health"] == "up").then_some(())
    };
    eventually("Prometheus to reach all processes", up).await;
    assert!(!ask("rules")["groups"].as_array().unwrap().is_empty());
}

/// Uploads a file to the S3 server by its presigned URL and returns its id.
pub async fn share_file(api: &Api, user: &User) -> String {
    let declared = json!({
        "name": "minutes.txt", "size": CONTENT.len(), "type": "text/plain", "sha256": SHA256,
    });
    let declared = user.post("/room/lobby/file", declared).await.ok();
    assert!(api.upload(&declared, CONTENT).await.is_success());
    let id = declared["file"]["id"].as_str().unwrap();
    user.post(&format!("/file/{id}/complete"), json!({})).await.ok();
    assert_eq!(download(api, user, id).await, CONTENT);
    id.to_owned()
}

/// Reads a file as a browser does: by a redirect to the S3 server.
pub async fn download(api: &Api, user: &User, id: &str) -> Vec<u8> {
    let link = user.get(&format!("/file/{id}")).await;
    let response = api.http.get(link.headers["location"].to_str().unwrap()).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response.bytes().await.unwrap().to_vec()
}

/// `docker compose stop gateway-1` moves its clients to the other gateway, which continues after the last event.
async fn stop_a_gateway(compose: &Compose, ada: &User) {
    let join = async |after| {
        let mut socket = Socket::connect(&compose.address(), &ada.access).await;
        socket.ok("join-room", ada.join_data("lobby", after).await).await;
        socket
    };
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(join(None).await);
    }
    let first = ada.post_message("lobby", "before the stop").await;
    for socket in &mut sockets {
        socket.expect_where("receive-msg", |event| event["seq"] == first).await;
    }
    compose.run(&["stop", "gateway-1"]);
    let second = ada.post_message("lobby", "after the stop").await;
    let mut moved = 0;
    for mut socket in sockets {
        let (event, data) = socket.expect_one_of(&["migrate", "receive-msg"]).await;
        let data = if event == "migrate" {
            moved += 1;
            join(Some(first)).await.expect("receive-msg").await
        } else {
            data
        };
        assert_eq!((data["seq"].as_u64(), data["prev"].as_u64()), (Some(second), Some(first)));
    }
    assert_eq!(moved, 2, "the proxy shares 4 sockets among 2 gateways");
    compose.run(&["start", "gateway-1"]);
    compose.healthy("gateway-1").await;
}

/// A sent message is in the history after NATS was killed and started again.
async fn kill_nats(compose: &Compose, ada: &User) {
    let sent = ada.post_message("lobby", "before the crash").await;
    compose.run(&["kill", "nats"]);
    compose.run(&["start", "nats"]);
    compose.healthy("nats").await;
    let next = eventually("a send after NATS restarted", || async {
        let body = json!({ "id": uuid::Uuid::now_v7(), "msg": "after the crash" });
        let answer = ada.post("/room/lobby/message", body).await;
        answer.status.is_success().then(|| answer.body["seq"].as_u64().unwrap())
    });
    assert!(next.await > sent);
    assert_eq!(texts(ada).await, TEXTS);
}

/// Messages, accounts and files survive `docker compose down` and `up`.
async fn restart_everything(compose: &Compose, api: &Api, file: &str) {
    compose.run(&["down"]);
    compose.up();
    let ada = api.login("ada").await;
    assert_eq!(texts(&ada).await, TEXTS);
    assert_eq!(download(api, &ada, file).await, CONTENT);
    assert!(ada.post_message("lobby", "after the restart").await > 0);
}

/// Caddy replaces a forged X-Forwarded-For, and another address is not delayed.
async fn wrong_passwords_delay_one_address(compose: &Compose, api: &Api) {
    let login = async |from: &str, password: &str| {
        let body = json!({ "name": "bob", "password": password });
        let request = api.http.post(format!("{}/login", api.base)).json(&body);
        Answer::of(request.header("x-forwarded-for", from)).await
    };
    for n in 0..5 {
        login(&format!("192.0.2.{n}"), "wrong").await.problem(401, "bad-credentials");
    }
    login("192.0.2.9", PASSWORD).await.problem(429, "too-many-attempts");
    let body = json!({ "name": "bob", "password": PASSWORD }).to_string();
    let elsewhere = compose.run(&[
        "exec",
        "-T",
        "front",
        "wget",
        "-q",
        "-O",
        "-",
        "--header",
        "Content-Type: application/json",
        "--post-data",
        &body,
        "http://front:8080/login",
    ]);
    assert!(elsewhere.contains("accessToken"), "{elsewhere}");
}

/// The texts of the messages, oldest first.
pub async fn texts(user: &User) -> Vec<String> {
    let page = user.get("/room/lobby/message").await.ok();
    let items = page["items"].as_array().unwrap().iter();
    items.filter_map(|item| item["msg"].as_str().map(str::to_owned)).collect()
}

fn assert_no_secret_in_logs(compose: &Compose) {
    let logs = compose.run(&["logs", "--no-color"]);
    assert!(logs.contains("serving"), "the logs are those of the services");
    for (name, value) in compose.secrets() {
        assert!(!logs.contains(&value), "{name} is in a log");
    }
    assert!(!logs.contains(PASSWORD));
}

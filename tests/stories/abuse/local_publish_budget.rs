//! `local` runs functions and gateway in one process: HTTP and sockets share a user's publish budget.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use stories::{Answer, PASSWORD, Socket, binary, start_local_with};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_process_http_and_sockets_share_a_budget() {
    let folder = tempfile::TempDir::new().unwrap();
    let limits = [("LIMIT_USER_EVENT_RATE", "0.1"), ("LIMIT_USER_EVENT_BURST", "8")];
    let mut local = tokio::process::Command::new(binary("local"));
    let (_child, base) = start_local_with(local.envs(limits), folder.path()).await;
    let http = reqwest::Client::new();
    let call = async |method: Method, path: &str, token: Option<&str>, body: Value| {
        let mut request = http.request(method, format!("{base}{path}"));
        if !body.is_null() {
            request = request.json(&body);
        }
        let request = token.into_iter().fold(request, RequestBuilder::bearer_auth);
        Answer::of(request).await
    };
    let ada = json!({ "name": "ada", "password": PASSWORD });
    call(Method::POST, "/user", None, ada.clone()).await.ok();
    let login = call(Method::POST, "/login", None, ada).await.ok();
    let token = login["accessToken"].as_str().unwrap();
    call(Method::POST, "/room", Some(token), json!({ "name": "lobby" })).await.ok();
    let mut count = 0;
    loop {
        let message = json!({ "id": Uuid::now_v7(), "msg": "x" });
        let sent = call(Method::POST, "/room/lobby/message", Some(token), message).await;
        if sent.status != 201 {
            sent.problem(429, "user-rate-limited");
            break;
        }
        count += 1;
    }
    assert!((7..20).contains(&count), "{count}");
    let entered = call(Method::GET, "/room/lobby", Some(token), Value::Null).await.ok();
    let mut socket = Socket::connect(&base, token).await;
    let room = entered["room"]["id"].clone();
    let join =
        json!({ "roomId": room, "userId": login["user"]["id"], "ticket": entered["ticket"] });
    socket.ok("join-room", join).await;
    // At most one token was refilled meanwhile.
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(socket.call("send-msg", json!({ "roomId": room, "msg": "x" })).await);
    }
    let refused = |answer: &&Value| answer["error"]["code"] == "user-rate-limited";
    assert!(answers.iter().filter(refused).count() >= 2, "{answers:?}");
}

//! Outages of NATS, the database and the storage: requests that need them are refused with `retry-after`, and work
//! again afterwards.

use reqwest::Method;
use serde_json::{Value, json};
use stories::{Answer, Database, PASSWORD, System, TcpProxy, eventually, stories};

fn for_a_while(answer: &Answer) {
    answer.problem(503, "unavailable");
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

fn message() -> Value {
    json!({ "id": uuid::Uuid::now_v7(), "msg": "hello" })
}

stories! {
    async fn a_nats_outage_is_answered_with_retry_after(system: System) {
        let mut system = system;
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        system.nats.kill();
        let (sent, told) = tokio::join!(
            ada.post("/room/lobby/message", message()),
            ada.post("/room/lobby/broadcast", json!({ "msg": "hello" })),
        );
        for_a_while(&sent);
        for_a_while(&told);
        let ready = ada.get("/readyz").await;
        assert_eq!((ready.status.as_u16(), &ready.body["nats"]), (503, &json!(false)));
        assert!(ready.headers.contains_key("retry-after"));
        system.restart_nats();
        eventually("a message to be stored", || async {
            let sent = ada.post("/room/lobby/message", message()).await;
            sent.status.is_success().then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_outage_is_answered_with_retry_after() {
    let mut system = System::new(Database::Postgres).await;
    let url = system.variables()["DATABASE_URL"].clone();
    let (server, name) = url.rsplit_once('/').unwrap();
    let port = server.rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = TcpProxy::to(port).await;
    let (scheme, _) = server.rsplit_once('@').unwrap();
    system.set_variable("DATABASE_URL", &format!("{scheme}@{}/{name}", proxy.address));
    let base = system.start_functions().await;
    system.set_variable("DATABASE_URL", &url);
    let ada = system.user("ada").await.at(&base);
    ada.create_room("lobby").await;
    let post = |path: &str, body: Value| Answer::of(system.request(Method::POST, path).json(&body));
    let account = json!({ "name": "ada", "password": PASSWORD });
    let refresh = json!({ "refreshToken": ada.refresh });
    for how in ["cut off", "refuses connections"] {
        // Both happen in a failover: a lost network path, and a server that refuses connections.
        if how == "cut off" {
            proxy.disconnect().await;
        } else {
            system.allow_database_connections(false).await;
        }
        let answers = tokio::join!(
            ada.get("/user"),
            ada.get("/room"),
            ada.get("/user/export"),
            ada.post("/room/lobby/message", message()),
            ada.get("/readyz"),
        );
        let (me, rooms, export, sent, ready) = answers;
        for answer in [me, rooms, export, sent] {
            for_a_while(&answer);
        }
        assert_eq!(ready.body["database"], false, "{how}");
        assert!(ready.headers.contains_key("retry-after"));
        if how == "cut off" {
            proxy.reconnect();
        } else {
            system.allow_database_connections(true).await;
        }
        eventually("the database to be back", || async {
            ada.get("/user").await.status.is_success().then_some(())
        })
        .await;
    }
    // An instance without requests during the outage has broken connections in its pool.
    eventually("a login", || async {
        let login = post("/login", account.clone()).await;
        login.status.is_success().then_some(())
    })
    .await;
    post("/login/refresh", refresh).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_outage_refuses_requests_for_files_only() {
    let mut system = System::new(Database::Sqlite).await;
    let endpoint = system.variables()["S3_ENDPOINT"].clone();
    let port = endpoint.rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = TcpProxy::to(port).await;
    system.set_variable("S3_ENDPOINT", &format!("http://{}", proxy.address));
    system.set_variable("S3_PUBLIC_ENDPOINT", &endpoint);
    let base = system.start_functions().await;
    let ada = system.user("ada").await.at(&base);
    ada.create_room("lobby").await;
    let new = json!({ "name": "a.txt", "size": 1, "type": "text/plain" });
    let [stored, pending] = [(), ()].map(|()| ada.post("/room/lobby/file", new.clone()));
    let (stored, pending) = (stored.await.ok(), pending.await.ok());
    let path = |declared: &Value| format!("/file/{}", declared["file"]["id"].as_str().unwrap());
    let (stored_path, pending_path) = (path(&stored), path(&pending));
    assert!(system.upload(&stored, b"a").await.is_success());
    ada.post(&format!("{stored_path}/complete"), json!({})).await.ok();
    assert_eq!(ada.get(&stored_path).await.status, 302);
    let ready = ada.get("/readyz").await.ok();
    assert_eq!((&ready["status"], &ready["reasons"]), (&json!("ready"), &json!([])));

    proxy.disconnect().await;
    for_a_while(&ada.post(&format!("{pending_path}/complete"), json!({})).await);
    // The storage's last answer counts for some seconds.
    eventually("a download to be refused", || async {
        (ada.get(&stored_path).await.status != 302).then_some(())
    })
    .await;
    for_a_while(&ada.get(&stored_path).await);
    for_a_while(&ada.post("/room/lobby/file", new.clone()).await);
    let ready = ada.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.body["status"]), (200, &json!("degraded")));
    assert_eq!((&ready.body["storage"], &ready.body["database"]), (&json!(false), &json!(true)));
    assert!(ready.body["reasons"][0].as_str().unwrap().contains("storage"), "{}", ready.body);
    assert_eq!(ada.post("/room/lobby/message", message()).await.status, 201);
    system.login("ada").await.at(&base).get("/room").await.ok();

    proxy.reconnect();
    eventually("a download", || async {
        (ada.get(&stored_path).await.status == 302).then_some(())
    })
    .await;
    assert!(system.upload(&pending, b"a").await.is_success());
    ada.post(&format!("{pending_path}/complete"), json!({})).await.ok();
}

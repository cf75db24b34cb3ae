//! Outages of NATS and of the database: requests are refused with `retry-after`, and work again afterwards.

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

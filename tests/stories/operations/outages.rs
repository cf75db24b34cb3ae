//! What stands behind the functions is away: refusals say when to try again, and afterwards it works again.

use reqwest::Method;
use serde_json::{Value, json};
use stories::{Answer, Database, Link, PASSWORD, World, eventually, stories};

fn for_a_while(answer: &Answer) {
    answer.problem(503, "unavailable");
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

fn message() -> Value {
    json!({ "id": uuid::Uuid::now_v7(), "msg": "hello" })
}

stories! {
    async fn while_nats_is_away_refusals_say_when_to_try_again(world: World) {
        let mut world = world;
        let ada = world.user("ada").await;
        ada.create_room("lobby").await;
        world.nats.kill();
        let (sent, told) = tokio::join!(
            ada.post("/room/lobby/message", message()),
            ada.post("/room/lobby/broadcast", json!({ "msg": "hello" })),
        );
        for_a_while(&sent);
        for_a_while(&told);
        let ready = ada.get("/readyz").await;
        assert_eq!((ready.status.as_u16(), &ready.body["nats"]), (503, &json!(false)));
        assert!(ready.headers.contains_key("retry-after"));
        world.restart_nats();
        eventually("a message to be stored", || async {
            let sent = ada.post("/room/lobby/message", message()).await;
            sent.status.is_success().then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_refusals_say_when_to_try_again() {
    let mut world = World::new(Database::Postgres).await;
    let url = world.variables()["DATABASE_URL"].clone();
    let (server, name) = url.rsplit_once('/').unwrap();
    let port = server.rsplit_once(':').unwrap().1.parse().unwrap();
    let link = Link::to(port).await;
    let (scheme, _) = server.rsplit_once('@').unwrap();
    world.set("DATABASE_URL", &format!("{scheme}@{}/{name}", link.address));
    let base = world.functions().await;
    world.set("DATABASE_URL", &url);
    let ada = world.user("ada").await.at(&base);
    ada.create_room("lobby").await;
    let post = |path: &str, body: Value| Answer::of(world.request(Method::POST, path).json(&body));
    let account = json!({ "name": "ada", "password": PASSWORD });
    let refresh = json!({ "refreshToken": ada.refresh });
    for how in ["cut off", "refuses connections"] {
        // Both happen in a failover: packets that go nowhere, and a server that lets nobody in.
        if how == "cut off" {
            link.cut().await;
        } else {
            world.database_lets_in(false).await;
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
            link.mend();
        } else {
            world.database_lets_in(true).await;
        }
        eventually("the database to be back", || async {
            ada.get("/user").await.status.is_success().then_some(())
        })
        .await;
    }
    // An instance that was not asked for anything meanwhile has connections that have ended.
    eventually("a login", || async {
        let login = post("/login", account.clone()).await;
        login.status.is_success().then_some(())
    })
    .await;
    post("/login/refresh", refresh).await.ok();
}

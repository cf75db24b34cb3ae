//! Functions whose database and NATS are away at the start, or whose connections were dropped during a freeze.

use std::time::{Duration, Instant};

use stories::{Database, RuntimeApi, Server, System, TcpProxy, eventually, signal};

use super::{body, event, message, start_with};

/// Proxies of a system's database and NATS, and the variables that lead to them.
async fn proxied(system: &System) -> ([TcpProxy; 2], [(&'static str, String); 2]) {
    let url = &system.variables()["DATABASE_URL"];
    let (server, name) = url.rsplit_once('/').unwrap();
    let (scheme, address) = server.rsplit_once('@').unwrap();
    let port = |address: &str| address.rsplit_once(':').unwrap().1.parse().unwrap();
    let database = TcpProxy::to(port(address)).await;
    let nats = TcpProxy::to(port(&system.variables()["NATS_URL"])).await;
    let database_url = format!("{scheme}@{}/{name}", database.address);
    let nats_url = format!("nats://{}", nats.address);
    ([database, nats], [("DATABASE_URL", database_url), ("NATS_URL", nats_url)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_starts_and_answers_503_while_everything_is_away() {
    let system = System::new(Database::Postgres).await;
    let ada = system.user("ada").await;
    ada.create_room("lobby").await;
    let (proxies, variables) = proxied(&system).await;
    for proxy in &proxies {
        proxy.disconnect().await;
    }
    let mut api = RuntimeApi::start().await;
    let rooms = start_with(&system, &api, "rooms", |command| {
        command.envs(variables).env("RUST_LOG", "off");
    });
    for request in [
        event("GET", "/room", Some(&ada.access), None),
        event("POST", "/room/lobby/message", Some(&ada.access), Some(message())),
    ] {
        let answer = api.invoke(request).await;
        assert_eq!(answer["statusCode"], 503, "{answer}");
        assert_eq!(body(&answer)["code"], "unavailable");
        assert!(answer["headers"]["retry-after"].is_string(), "{answer}");
    }
    let [database, nats] = &proxies;
    database.reconnect();
    let list = || event("GET", "/room", Some(&ada.access), None);
    // With the database only, reading works.
    let mut attempts = 0;
    while api.invoke(list()).await["statusCode"] != 200 {
        attempts += 1;
        assert!(attempts < 10, "the database is back");
    }
    nats.reconnect();
    let mut attempts = 0;
    let send = || event("POST", "/room/lobby/message", Some(&ada.access), Some(message()));
    while api.invoke(send()).await["statusCode"] != 201 {
        attempts += 1;
        assert!(attempts < 10, "NATS is back");
    }
    drop(rooms);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_answer_after_a_freeze_with_dropped_connections_takes_less_than_a_second() {
    let system = System::new(Database::Postgres).await;
    let ada = system.user("ada").await;
    ada.create_room("lobby").await;
    let (proxies, variables) = proxied(&system).await;
    let mut api = RuntimeApi::start().await;
    let rooms = start_with(&system, &api, "rooms", |command| {
        command.envs(variables);
    });
    let send = || event("POST", "/room/lobby/message", Some(&ada.access), Some(message()));
    for _ in 0..2 {
        assert_eq!(api.invoke(send()).await["statusCode"], 201);
    }
    let process = rooms.id().unwrap();
    signal(process, "-STOP");
    // The connections stay open and carry nothing any more, as after a firewall has forgotten them.
    for proxy in &proxies {
        proxy.black_hole();
    }
    // Longer than a function trusts its connections.
    tokio::time::sleep(Duration::from_secs(6)).await;
    signal(process, "-CONT");
    let began = Instant::now();
    let answer = api.invoke(send()).await;
    let took = began.elapsed();
    assert_eq!(answer["statusCode"], 201, "{answer}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    println!("the first answer after the freeze took {took:?}");
    drop(rooms);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_start_while_everything_is_away_and_become_ready() {
    let mut system = System::new(Database::Postgres).await;
    let (proxies, variables) = proxied(&system).await;
    for proxy in &proxies {
        proxy.disconnect().await;
    }
    for (name, value) in variables {
        system.set_variable(name, &value);
    }
    let metrics = stories::free_address();
    let mut archive = {
        let mut command = system.command("archive");
        command.arg("--follow").env("METRICS_LISTEN", &metrics).kill_on_drop(true);
        command.spawn().unwrap()
    };
    let alive = async |base: String| {
        let answer = reqwest::get(format!("{base}/healthz")).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    let mut servers = Vec::new();
    for name in ["functions", "gateway"] {
        let command = |address: &str| {
            let mut command = system.command(name);
            command.args(["--listen", address]);
            command
        };
        servers.push(Server::start(command, alive).await);
    }
    for server in &servers {
        let ready = reqwest::get(format!("{}/readyz", server.base)).await.unwrap();
        assert_eq!(ready.status(), 503, "{}", server.base);
    }
    assert!(archive.try_wait().unwrap().is_none(), "the archive runs");
    for proxy in &proxies {
        proxy.reconnect();
    }
    for server in &servers {
        system.wait_until_ready(&server.base).await;
    }
    let ada = system.user("ada").await.at(&servers[0].base);
    ada.create_room("lobby").await;
    assert!(ada.post("/room/lobby/message", message()).await.status.is_success());
    eventually("the message to be archived", || async {
        (system.count_messages().await == 1).then_some(())
    })
    .await;
}

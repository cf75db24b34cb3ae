//! A whole run's logs hold no secret and nobody's words, even where everything is logged that is there.

use std::{collections::BTreeMap, fs::File, process::Stdio};

use reqwest::{Method, header};
use serde_json::{Value, json};
use stories::{
    Answer, Database, Link, PASSWORD, Polling, SOON, Socket, User, Wire, World, binary, eventually,
    signal,
};
use tokio::process::{Child, Command};

const FUNCTIONS: &str = "127.0.0.1:18477";
const GATEWAY: &str = "127.0.0.1:18478";
/// All that is there to be said, by our crates and by every library.
const FILTER: &str = "trace";
/// What no line may hold, whatever the run's own secrets are: a JWT's beginning, a signed URL's or a
/// signed request's end, a header, a key.
const SHAPES: [&str; 5] = ["eyJ", "Signature=", "Bearer ", "refreshToken=", "PRIVATE KEY"];

/// What must not be logged, and what it is.
#[derive(Default)]
struct Secrets(BTreeMap<String, &'static str>);

impl Secrets {
    /// Notes one and gives it back, to be used.
    fn keep(&mut self, what: &'static str, secret: &str) -> String {
        assert!(secret.len() >= 8, "{what} is found by chance: {secret}");
        self.0.insert(secret.to_owned(), what);
        secret.to_owned()
    }

    fn tokens(&mut self, answer: &Value) -> (String, String) {
        let [access, refresh] =
            ["accessToken", "refreshToken"].map(|name| answer[name].as_str().unwrap());
        (self.keep("an access token", access), self.keep("a refresh token", refresh))
    }

    fn signed(&mut self, url: &Value) -> String {
        let url = url.as_str().unwrap();
        let (_, signature) = url.split_once("X-Amz-Signature=").unwrap();
        self.keep("a presigned signature", signature.split('&').next().unwrap());
        url.to_owned()
    }

    /// What the processes are given.
    fn of_environment(&mut self, world: &World) {
        for (name, value) in world.variables() {
            if name.ends_with("_PASSWORD") || name == "AWS_SECRET_ACCESS_KEY" {
                self.keep("a password of ours", value);
            }
            if name == "SIGNING_KEY" {
                let lines = value.lines().filter(|line| !line.starts_with('-'));
                lines.for_each(|line| drop(self.keep("the signing key", line)));
            }
        }
    }
}

fn start(world: &World, name: &str, arguments: &[&str]) -> Child {
    let log = |stream: &str| File::create(world.folder().join(format!("{name}.{stream}"))).unwrap();
    Command::new(binary(name))
        .args(arguments)
        .envs(world.variables())
        .envs([("RUST_LOG", FILTER), ("LOG_FORMAT", "json")])
        .stdin(Stdio::null())
        .stdout(log("out"))
        .stderr(log("err"))
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Stops a process as an operator does; what it logged.
async fn stopped(world: &World, name: &str, mut process: Child) -> String {
    signal(process.id().unwrap(), "-TERM");
    let ended = tokio::time::timeout(SOON, process.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{name}: {ended}");
    let read =
        |stream: &str| std::fs::read_to_string(world.folder().join(format!("{name}.{stream}")));
    assert_eq!(read("out").unwrap(), "", "{name} logs to standard error");
    read("err").unwrap()
}

/// Sign-up, logins and renewals, right and wrong; a new password.
async fn accounts(world: &World, secrets: &mut Secrets) -> (User, User) {
    secrets.keep("a password", PASSWORD);
    let names = ["ada.lovelace-1815", "bob.babbage-1791"];
    let [mut ada, bob] = [world.user(names[0]).await, world.user(names[1]).await];
    for (name, user) in names.into_iter().zip([&ada, &bob]) {
        secrets.keep("a user's name", name);
        secrets.keep("an access token", &user.access);
        secrets.keep("a refresh token", &user.refresh);
    }
    let taken =
        json!({ "name": names[0], "password": secrets.keep("a password", "for a taken name") });
    world.post("/user", taken).await.problem(409, "name-taken");
    for body in [
        format!(
            r#"{{"name":"{}","password":"{}""#,
            names[0],
            secrets.keep("a password", "cut off after it")
        ),
        format!(
            r#"{{"name":"{}","passwort":"{}"}}"#,
            names[0],
            secrets.keep("a password", "in another field")
        ),
        format!(
            r#"{{"name":"{}","password":["{}"]}}"#,
            names[0],
            secrets.keep("a password", "in an array")
        ),
        format!(r#"{{"name":"{}","password":"x"}}"#, secrets.keep("a name", "not a name of ours")),
    ] {
        let json = [(header::CONTENT_TYPE, "application/json")];
        for path in ["/user", "/login"] {
            let request = world.request(Method::POST, path).header(json[0].0.clone(), json[0].1);
            assert!(
                Answer::of(request.body(body.clone())).await.status.is_client_error(),
                "{body}"
            );
        }
    }
    let guess = secrets.keep("a wrong password", "guessed and wrong");
    world
        .post("/login", json!({ "name": names[0], "password": guess }))
        .await
        .problem(401, "bad-credentials");

    let renewed = world.post("/login/refresh", json!({ "refreshToken": ada.refresh })).await.ok();
    let (_, refresh) = secrets.tokens(&renewed);
    let cookie = |token: &str| {
        let cookie = format!("refreshToken={token}");
        let request = world.request(Method::POST, "/login/refresh").header(header::COOKIE, cookie);
        Answer::of(request.header(header::ORIGIN, &world.variables()["PUBLIC_URL"]))
    };
    let (_, next) = secrets.tokens(&cookie(&refresh).await.ok());
    secrets.tokens(&cookie(&refresh).await.ok());
    secrets.tokens(&cookie(&next).await.ok());
    cookie(&secrets.keep("a refresh token", "a token that never was"))
        .await
        .problem(401, "refresh-invalid");
    cookie(&refresh).await.problem(401, "refresh-reused");

    let agent = secrets.keep("a user agent", "program-of-hers/7");
    let login = json!({ "name": names[0], "password": PASSWORD });
    let login =
        world.request(Method::POST, "/login").header(header::USER_AGENT, agent).json(&login);
    (ada.access, ada.refresh) = secrets.tokens(&Answer::of(login).await.ok());
    let new = secrets.keep("a password", "a new password of hers");
    let shown = secrets.keep("a display name", "Countess of L.");
    let wrong = secrets.keep("a wrong password", "not the current one");
    let change = |current: &str| json!({ "displayName": shown, "password": new, "currentPassword": current });
    ada.patch("/user", change(&wrong)).await.problem(403, "wrong-password");
    ada.patch("/user", change(PASSWORD)).await.ok();
    for path in ["/user", "/user/session", "/user/export"] {
        ada.get(path).await.ok();
    }
    (ada, bob)
}

/// Tokens that are none, and such as stand where none belongs.
async fn misplaced(world: &World, ada: &User, secrets: &mut Secrets) {
    let bad = secrets.keep("a bad token", "not-even-a-token");
    for authorization in [format!("Bearer {bad}"), format!("Basic {bad}"), bad.clone()] {
        let request =
            world.request(Method::GET, "/user").header(header::AUTHORIZATION, authorization);
        assert_eq!(Answer::of(request).await.status, 401);
    }
    for path in ["/user?access_token=", "/room?query=a&token=", "/nowhere/", "/file/", "/room/"] {
        let answer = world.request(Method::GET, &format!("{path}{}", ada.access));
        assert!(Answer::of(answer).await.status.is_client_error(), "{path}");
    }
    let origin = format!("http://{GATEWAY}");
    let query = format!("/socket.io/?EIO=4&transport=websocket&token={}", ada.access);
    let mut wire = Wire::open(&origin, &query).await;
    for packet in [
        format!("40{{\"token\":\"{bad}\"}}"),
        format!("40{{\"tokn\":\"{}\"}}", ada.access),
        format!("40{{\"token\":\"{}\"", ada.access),
    ] {
        wire.send(&packet).await;
    }
    wire.closed().await;
    let polling = Polling::open(&origin, "/socket.io/").await;
    secrets.keep("a session over HTTP", &polling.sid);
    polling.post(format!("40{{\"token\":\"{}\"}}", ada.access)).await;
    polling.until("40").await;
    polling.post(bad).await;
}

/// A room with a password, and what is said in it over HTTP. Its tickets for both.
async fn room(ada: &User, bob: &User, secrets: &mut Secrets) -> [Value; 2] {
    let [password, title] =
        [("a room's password", "sesame, open"), ("a room's title", "the engine room")]
            .map(|(what, text)| secrets.keep(what, text));
    let name = secrets.keep("a room's name", "analytical-engine");
    ada.post("/room", json!({ "name": name, "title": title, "password": password })).await.ok();
    let path = format!("/room/{name}");
    let members = format!("{path}/member");
    let wrong = secrets.keep("a wrong password", "sesame, close");
    bob.post(&members, json!({ "password": wrong })).await.problem(403, "wrong-password");
    bob.post(&members, json!({ "password": password })).await.ok();
    let said = secrets.keep("a message", "said without a socket");
    ada.say(&name, &said).await;
    let notice = secrets.keep("a notice", "noticed by everybody");
    ada.post(&format!("{path}/broadcast"), json!({ "msg": notice })).await.ok();
    ada.get(&format!("{path}/message/search?q=without+a+socket")).await.ok();
    ada.get(&format!("{path}/message?before={}", secrets.keep("a bad number", "before-the-flood")))
        .await
        .problem(422, "invalid-value");
    let patched = secrets.keep("a room's password", "sesame, anew");
    ada.patch(&path, json!({ "password": patched })).await.ok();
    let mut joins = [ada.join_data(&name, Some(0)).await, bob.join_data(&name, None).await];
    for join in &mut joins {
        secrets.keep("a ticket", join["ticket"].as_str().unwrap());
    }
    joins
}

/// A file up and down again.
async fn file(world: &World, ada: &User, secrets: &mut Secrets) {
    let name = secrets.keep("a file's name", "notes on the engine.txt");
    let content = secrets.keep("a file's content", "Note G, in her own words");
    let declare = json!({ "name": name, "size": content.len(), "type": "text/plain" });
    let declared = ada.post("/room/analytical-engine/file", declare).await.ok();
    let url = secrets.signed(&declared["upload"]["url"]);
    let mut put = world.http.put(url).body(content);
    for (name, value) in declared["upload"]["headers"].as_object().unwrap() {
        put = put.header(name, value.as_str().unwrap());
    }
    assert!(put.send().await.unwrap().status().is_success());
    let path = format!("/file/{}", declared["file"]["id"].as_str().unwrap());
    ada.post(&format!("{path}/complete"), json!({})).await.ok();
    let link = ada.get(&path).await;
    let link = secrets.signed(&json!(link.headers[header::LOCATION].to_str().unwrap()));
    assert!(world.http.get(link).send().await.unwrap().status().is_success());
}

/// All that a socket may send, and some that it may not.
async fn sockets(ada: &User, bob: &User, joins: &[Value; 2], secrets: &mut Secrets) -> [Socket; 2] {
    let origin = format!("http://{GATEWAY}");
    let room = &joins[0]["roomId"];
    let [mut a, mut b] =
        [Socket::connect(&origin, &ada.access).await, Socket::connect(&origin, &bob.access).await];
    a.ok("join-room", joins[0].clone()).await;
    b.ok("join-room", joins[1].clone()).await;
    let mut text = |what, text| secrets.keep(what, text);
    a.ok("new", json!({ "roomId": room, "msg": text("a display name", "A. A. Lovelace") })).await;
    let sent = json!({ "roomId": room, "msg": text("a message", "said over a socket") });
    let seq = a.ok("send-msg", sent).await["seq"].clone();
    let edited = text("a message", "said a little better");
    a.ok("edit-msg", json!({ "roomId": room, "seq": seq, "msg": edited })).await;
    b.ok("react", json!({ "roomId": room, "seq": seq, "emoji": "👍", "on": true })).await;
    b.ok("read", json!({ "roomId": room, "seq": seq })).await;
    b.ok("typing", json!({ "roomId": room, "on": true })).await;
    a.ok(
        "room-broadcast",
        json!({ "roomId": room, "msg": text("a notice", "hear, hear, all of you") }),
    )
    .await;
    let data = text("a signal", "candidate:842163049");
    a.ok("signal", json!({ "roomId": room, "to": bob.id, "data": { "ice": data } })).await;
    b.expect("signal").await;
    a.ok("delete-msg", json!({ "roomId": room, "seq": seq })).await;
    a.ok("refresh", json!({ "token": ada.access })).await;
    a.refused(
        "refresh",
        json!({ "token": text("a bad token", "refreshed-with-this") }),
        "token-invalid",
    )
    .await;
    let forged = json!({ "roomId": room, "userId": ada.id, "ticket": text("a bad ticket", "a-forged-ticket") });
    a.refused("join-room", forged, "ticket-invalid").await;
    a.refused(&text("an event's name", "whisper-to-bob"), json!({}), "unknown-event").await;
    let wrong = json!({ "roomId": room, "mgs": text("a message", "in another field of it") });
    a.call("send-msg", wrong).await;
    let mut broken = Socket::connect(&origin, &bob.access).await;
    broken
        .send(&format!(
            "42[\"send-msg\",{{\"msg\":\"{}\"",
            text("a message", "broken off after it")
        ))
        .await;
    broken.closed().await;
    [a, b]
}

/// Each server that ours need is away once, and is asked for something meanwhile.
async fn faults(world: &mut World, storage: &Link, ada: &User, secrets: &mut Secrets) {
    let declare = json!({ "name": "late.txt", "size": 1, "type": "text/plain" });
    let late = ada.post("/room/analytical-engine/file", declare).await.ok();
    storage.cut().await;
    let complete = format!("/file/{}/complete", late["file"]["id"].as_str().unwrap());
    assert!(ada.post(&complete, json!({})).await.status.is_server_error());
    storage.mend();
    world.database_lets_in(false).await;
    let login = json!({ "name": ada.name, "password": PASSWORD });
    assert!(world.post("/login", login).await.status.is_server_error());
    assert!(ada.get("/user").await.status.is_server_error());
    world.database_lets_in(true).await;
    world.ready(FUNCTIONS).await;
    world.restart_nats();
    let id = uuid::Uuid::now_v7();
    let message = json!({ "id": id, "msg": secrets.keep("a message", "while NATS was away") });
    eventually("a message to be stored", || async {
        let sent = ada.post("/room/analytical-engine/message", message.clone()).await;
        sent.status.is_success().then_some(())
    })
    .await;
}

/// Where a secret stands in a log, if it does.
fn leaks(name: &str, log: &str, secrets: &Secrets) -> Vec<String> {
    let shapes = SHAPES.iter().map(|shape| (*shape, "of this shape"));
    let words = secrets.0.iter().map(|(secret, what)| (secret.as_str(), *what));
    let words: Vec<(&str, &str)> = words.chain(shapes).collect();
    let lines = log.lines().flat_map(|line| words.iter().map(move |word| (line, word)));
    let leaks = lines.filter(|(line, (word, _))| line.contains(word));
    leaks.map(|(line, (word, what))| format!("{name}: {what}, {word}, in {line}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_logs_of_a_whole_run_hold_no_secret() {
    let mut world = World::new(Database::Postgres).await;
    let mut secrets = Secrets::default();
    let password = secrets.keep("the database's password", "postgres-lets-us-in");
    let database = &world.variables()["DATABASE_URL"];
    let database = database.replacen("postgres@", &format!("postgres:{password}@"), 1);
    world.set("DATABASE_URL", &database);
    let direct = world.variables()["S3_ENDPOINT"].clone();
    let port = direct.rsplit_once(':').unwrap().1.parse().unwrap();
    let storage = Link::to(port).await;
    world.set("S3_PUBLIC_ENDPOINT", &direct);
    world.set("S3_ENDPOINT", &format!("http://{}", storage.address));
    secrets.of_environment(&world);

    let functions = start(&world, "functions", &["--listen", FUNCTIONS]);
    let gateway = start(&world, "gateway", &["--listen", GATEWAY]);
    let archive = start(&world, "archive", &["--follow"]);
    world.ready(FUNCTIONS).await;
    world.ready(GATEWAY).await;
    world.base = format!("http://{FUNCTIONS}");

    let (ada, bob) = accounts(&world, &mut secrets).await;
    let joins = room(&ada, &bob, &mut secrets).await;
    file(&world, &ada, &mut secrets).await;
    let [mut a, mut b] = sockets(&ada, &bob, &joins, &mut secrets).await;
    misplaced(&world, &ada, &mut secrets).await;
    faults(&mut world, &storage, &ada, &mut secrets).await;
    a.expect_where("receive-msg", |data| data["msg"] == "while NATS was away").await;
    ada.post("/logout", json!({})).await;
    a.closed().await;
    bob.delete_with("/user", json!({ "password": PASSWORD })).await;
    b.closed().await;
    eventually("all to be archived", || async {
        (world.count_messages().await >= 2).then_some(())
    })
    .await;

    let mut found = Vec::new();
    for (name, process, expected) in [
        ("functions", functions, "answered"),
        ("gateway", gateway, "a socket ended"),
        ("archive", archive, "lost the connection to NATS; reconnecting"),
    ] {
        let log = stopped(&world, name, process).await;
        let lines: Vec<Value> =
            log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert!(lines.iter().any(|line| line["fields"]["message"] == expected), "{name}: {log}");
        assert!(lines.iter().any(|line| line["level"] == "TRACE"), "{name} tells all");
        found.extend(leaks(name, &log, &secrets));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

//! The HTTP functions answer the requests of their resources.

use serde_json::{Value, json};
use stories::{DEADLINE, Database, OtlpReceiver, PASSWORD, RuntimeApi, System};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{body, event, start, start_with};

/// A login as API Gateway forwards it: the source address in the event, and appended to the client's own
/// `x-forwarded-for`.
fn login(source: &str, said: Option<&str>, name: &str, password: &str) -> Value {
    let body = json!({ "name": name, "password": password });
    let mut event = event("POST", "/login", None, Some(body));
    event["requestContext"]["http"]["sourceIp"] = source.into();
    let way = said.map_or_else(|| source.to_owned(), |said| format!("{said}, {source}"));
    event["headers"]["x-forwarded-for"] = way.into();
    event
}

/// The public key of the system's signing key, as PEM.
fn verification_key(system: &System) -> String {
    let mut openssl = std::process::Command::new("openssl")
        .args(["pkey", "-pubout"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let key = &system.variables()["SIGNING_KEY"];
    std::io::Write::write_all(&mut openssl.stdin.take().unwrap(), key.as_bytes()).unwrap();
    String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_rooms_and_files_answer_invocations() {
    let system = System::new(Database::Postgres).await;
    let mut api = RuntimeApi::start().await;
    // Only `files` needs the storage.
    let accounts = start_with(&system, &api, "accounts", |command| {
        command.env_remove("AWS_SECRET_ACCESS_KEY");
    });
    let sign_up = json!({ "name": "ada", "password": "correct horse" });
    let answer = api.invoke(event("POST", "/user", None, Some(sign_up.clone()))).await;
    assert_eq!(
        (&answer["statusCode"], &body(&answer)["name"]),
        (&json!(201), &json!("ada")),
        "{answer}"
    );
    let answer = api.invoke(event("POST", "/login", None, Some(sign_up))).await;
    let token = body(&answer)["accessToken"].as_str().unwrap().to_owned();
    let answer = api.invoke(event("GET", "/room/lobby", Some(&token), None)).await;
    assert_eq!((&answer["statusCode"], &body(&answer)["code"]), (&json!(404), &json!("not-found")));
    drop(accounts);

    let mut api = RuntimeApi::start().await;
    let rooms = start(&system, &api, "rooms");
    let answer =
        api.invoke(event("POST", "/room", Some(&token), Some(json!({ "name": "한글방" })))).await;
    assert_eq!(answer["statusCode"], 201, "{answer}");
    let entered = api.invoke(event("GET", "/room/한글방", Some(&token), None)).await;
    assert_eq!(
        (&entered["statusCode"], &body(&entered)["you"]["role"]),
        (&json!(200), &json!("owner")),
        "{entered}"
    );
    drop(rooms);

    let mut api = RuntimeApi::start().await;
    // It signs no tokens, so it has no private key.
    let files = start_with(&system, &api, "files", |command| {
        command.env_remove("SIGNING_KEY").env("VERIFICATION_KEYS", verification_key(&system));
    });
    let file = json!({ "name": "a.txt", "size": 3, "type": "text/plain" });
    let answer = api.invoke(event("POST", "/room/한글방/file", Some(&token), Some(file))).await;
    assert_eq!(
        (&answer["statusCode"], &body(&answer)["upload"]["method"]),
        (&json!(201), &json!("PUT")),
        "{answer}"
    );
    let ready = api.invoke(event("GET", "/readyz", None, None)).await;
    assert_eq!(body(&ready)["status"], "ready", "{ready}");
    drop(files);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invocation_writes_its_metrics_for_cloudwatch() {
    let system = System::new(Database::Sqlite).await;
    let mut api = RuntimeApi::start().await;
    let mut rooms = start_with(&system, &api, "rooms", |command| {
        command.stdout(std::process::Stdio::piped());
    });
    let mut lines = BufReader::new(rooms.stdout.take().unwrap()).lines();
    let answer = api.invoke(event("GET", "/room", None, None)).await;
    assert_eq!(answer["statusCode"], 401, "{answer}");
    let line = loop {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if line["chat_http_requests_total"].is_number() {
            break line;
        }
    };
    assert_eq!(line["chat_http_requests_total"], 1, "{line}");
    assert_eq!((&line["route"], &line["status"]), (&json!("/room"), &json!("401")), "{line}");
    assert_eq!(line["FunctionName"], "rooms");
    assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "chat", "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invocation_exports_its_spans_before_the_function_is_frozen() {
    const TRACE: &str = "5759e988bd862e3fe1be46a994272793";
    let system = System::new(Database::Sqlite).await;
    let mut api = RuntimeApi::start().await;
    let receiver = OtlpReceiver::start().await;
    let _rooms = start_with(&system, &api, "rooms", |command| {
        // Only a flush exports within an hour.
        command.env("OTEL_BSP_SCHEDULE_DELAY", "3600000");
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.endpoint);
    });
    let mut event = event("GET", "/room", None, None);
    event["headers"]["x-amzn-trace-id"] =
        json!("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1");
    let answer = api.invoke(event).await;
    assert_eq!(answer["statusCode"], 401, "{answer}");
    let spans = receiver.expect(TRACE, "GET /room", 1).await;
    assert_eq!((&*spans[0].service, &*spans[0].parent), ("rooms", "53995c3f42cd8ad8"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_counted_by_the_source_address_of_api_gateway() {
    const STRANGER: &str = "203.0.113.66";
    const OWNER: &str = "192.0.2.1";
    let system = System::new(Database::Postgres).await;
    system.user("ada").await;
    let mut api = RuntimeApi::start().await;
    let accounts = start(&system, &api, "accounts");
    let code = |answer: &Value| (answer["statusCode"].clone(), body(answer)["code"].clone());
    // No trusted proxy is configured, so the header is ignored.
    for n in 0..5 {
        let said = format!("198.51.100.{n}");
        let answer = api.invoke(login(STRANGER, Some(&said), "ada", "wrong")).await;
        assert_eq!(code(&answer), (json!(401), json!("bad-credentials")), "{answer}");
    }
    // Extends the wait to the end of the test, however slow the machine is.
    let waits = "UPDATE attempt SET blocked_until = now() + interval '1 hour' WHERE blocked_until > last_at";
    assert_eq!(system.execute(waits).await, 1);
    for said in [None, Some("198.51.100.9"), Some(OWNER)] {
        let answer = api.invoke(login(STRANGER, said, "ada", PASSWORD)).await;
        assert_eq!(code(&answer), (json!(429), json!("too-many-attempts")), "{said:?}: {answer}");
        assert!(answer["headers"]["retry-after"].is_string(), "{answer}");
    }
    // A header with the stranger's address does not block another client.
    let answer = api.invoke(login(OWNER, Some(STRANGER), "ada", PASSWORD)).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
    drop(accounts);
}

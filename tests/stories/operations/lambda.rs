//! The Lambda binaries, run against the Lambda runtime API.

use std::process::Stdio;

use serde_json::{Value, json};
use stories::{DEADLINE, Database, PASSWORD, RuntimeApi, System, binary};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

fn start(system: &System, api: &RuntimeApi, name: &str) -> Child {
    command(system, api, name).spawn().unwrap()
}

/// Starts a function whose standard output can be read.
fn start_piped(system: &System, api: &RuntimeApi, name: &str) -> Child {
    command(system, api, name).stdout(Stdio::piped()).spawn().unwrap()
}

fn command(system: &System, api: &RuntimeApi, name: &str) -> Command {
    let mut command = Command::new(binary(name));
    command
        .envs(system.variables())
        .env("AWS_LAMBDA_RUNTIME_API", &api.address)
        .env("AWS_LAMBDA_FUNCTION_NAME", name)
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "log")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "log")
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// An event of API Gateway's HTTP API, payload format 2.0.
fn event(method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Value {
    let mut headers = json!({ "content-type": "application/json", "host": "chat.example" });
    if let Some(token) = token {
        headers["authorization"] = format!("Bearer {token}").into();
    }
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "chat.example",
            "domainPrefix": "chat", "requestId": "id", "routeKey": "$default", "stage": "$default",
            "time": "23/Nov/2026:00:00:00 +0000", "timeEpoch": 1795392000000_u64,
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "story",
            }
        },
        "body": body.map(|body| body.to_string()),
        "isBase64Encoded": false
    })
}

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

fn body(answer: &Value) -> Value {
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_rooms_and_files_answer_invocations() {
    let system = System::new(Database::Postgres).await;
    let mut api = RuntimeApi::start().await;
    let accounts = start(&system, &api, "accounts");
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
    let entered =
        api.invoke(event("GET", "/room/%ED%95%9C%EA%B8%80%EB%B0%A9", Some(&token), None)).await;
    assert_eq!(
        (&entered["statusCode"], &body(&entered)["you"]["role"]),
        (&json!(200), &json!("owner")),
        "{entered}"
    );
    drop(rooms);

    let mut api = RuntimeApi::start().await;
    let files = start(&system, &api, "files");
    let file = json!({ "name": "a.txt", "size": 3, "type": "text/plain" });
    let answer = api
        .invoke(event("POST", "/room/%ED%95%9C%EA%B8%80%EB%B0%A9/file", Some(&token), Some(file)))
        .await;
    assert_eq!(
        (&answer["statusCode"], &body(&answer)["upload"]["method"]),
        (&json!(201), &json!("PUT")),
        "{answer}"
    );
    drop(files);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invocation_writes_its_metrics_for_cloudwatch() {
    let system = System::new(Database::Sqlite).await;
    let mut api = RuntimeApi::start().await;
    let mut rooms = start_piped(&system, &api, "rooms");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_invocation_archives_everything() {
    let system = System::new(Database::Postgres).await;
    let ada = system.user("ada").await;
    let room = ada.create_room("lobby").await;
    // More than one batch.
    system.append_messages(room, ada.id, 4_500).await;
    let mut api = RuntimeApi::start().await;
    let archive = start(&system, &api, "archive");
    assert_eq!(api.invoke(json!({})).await, json!({ "moved": 4_501 }));
    assert_eq!(api.invoke(json!({})).await, json!({ "moved": 0 }));
    assert_eq!(system.count_messages().await, 4_500);
    drop(archive);
}

//! The Lambda binaries, run against the Lambda runtime API.

mod addresses;
mod event_functions;
mod outages;
mod requests;
mod secrets;

use std::process::Stdio;

use serde_json::{Value, json};
use stories::{RuntimeApi, System, binary};
use tokio::process::{Child, Command};

/// Starts a function with a system's variables.
fn start(system: &System, api: &RuntimeApi, name: &str) -> Child {
    start_with(system, api, name, |_| {})
}

/// Starts a function with further settings of its environment.
fn start_with(
    system: &System,
    api: &RuntimeApi,
    name: &str,
    configure: impl FnOnce(&mut Command),
) -> Child {
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
    configure(&mut command);
    command.spawn().unwrap()
}

/// An event of API Gateway's HTTP API, payload format 2.0. The path is decoded, as API Gateway passes it on.
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

fn body(answer: &Value) -> Value {
    serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap()
}

fn message() -> Value {
    json!({ "id": uuid::Uuid::now_v7(), "msg": "hello" })
}

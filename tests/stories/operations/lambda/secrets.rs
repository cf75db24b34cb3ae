//! Secrets that are read from AWS Secrets Manager.

use std::collections::HashMap;

use axum::{Json, Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use serde_json::{Value, json};
use stories::{Database, RuntimeApi, System};
use tokio::net::TcpListener;

use super::{event, start_with};

const PREFIX: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:chat/";

/// `GetSecretValue` of Secrets Manager.
async fn get_secret_value(
    State(secrets): State<HashMap<String, String>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    assert_eq!(headers["x-amz-target"], "secretsmanager.GetSecretValue");
    let request: Value = serde_json::from_str(&body).unwrap();
    let id = request["SecretId"].as_str().unwrap();
    match secrets.get(id) {
        Some(secret) => (StatusCode::OK, Json(json!({ "ARN": id, "SecretString": secret }))),
        None => {
            let error = json!({ "__type": "ResourceNotFoundException", "Message": "none" });
            (StatusCode::BAD_REQUEST, Json(error))
        }
    }
}

async fn serve(secrets: HashMap<String, String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(get_secret_value)).with_state(secrets);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_read_from_secrets_manager() {
    let system = System::new(Database::Postgres).await;
    let ada = system.user("ada").await;
    let of = |name: &str| system.variables()[name].clone();
    let database = json!({ "url": of("DATABASE_URL"), "other": 1 }).to_string();
    let secrets = HashMap::from([
        (format!("{PREFIX}key-AbCdEf"), of("SIGNING_KEY")),
        (format!("{PREFIX}database-AbCdEf"), database),
    ]);
    let url = serve(secrets).await;
    let mut api = RuntimeApi::start().await;
    let rooms = start_with(&system, &api, "rooms", |command| {
        command
            .env_remove("SIGNING_KEY")
            .env_remove("DATABASE_URL")
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url)
            .env("SIGNING_KEY_ARN", format!("{PREFIX}key-AbCdEf"))
            .env("DATABASE_URL_ARN", format!("{PREFIX}database-AbCdEf:url::"));
    });
    let answer = api.invoke(event("GET", "/room", Some(&ada.access), None)).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
    drop(rooms);

    let api = RuntimeApi::start().await;
    let failing = start_with(&system, &api, "rooms", |command| {
        command
            .env_remove("SIGNING_KEY")
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url)
            .env("SIGNING_KEY_ARN", format!("{PREFIX}missing-AbCdEf"))
            .stderr(std::process::Stdio::piped());
    });
    let output = failing.wait_with_output().await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(error.contains("cannot read the secret of SIGNING_KEY_ARN"), "{error}");
    assert!(error.contains("ResourceNotFoundException"), "{error}");
}

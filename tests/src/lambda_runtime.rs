//! The Lambda runtime API that a function polls for events and posts its responses to.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

use crate::wait::DEADLINE;

/// A running API. A function finds it by the variable `AWS_LAMBDA_RUNTIME_API`.
pub struct RuntimeApi {
    /// `host:port`
    pub address: String,
    events: mpsc::Sender<Value>,
    answers: mpsc::Receiver<Value>,
    server: JoinHandle<()>,
}

struct Shared {
    events: Mutex<mpsc::Receiver<Value>>,
    answers: mpsc::Sender<Value>,
}

impl RuntimeApi {
    pub async fn start() -> Self {
        let (events, waiting) = mpsc::channel(1);
        let (answer, answers) = mpsc::channel(1);
        let shared = Arc::new(Shared { events: Mutex::new(waiting), answers: answer });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(response))
            .with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, events, answers, server }
    }

    /// Invokes the function with an event; returns its response.
    pub async fn invoke(&mut self, event: Value) -> Value {
        self.events.send(event).await.unwrap();
        tokio::time::timeout(DEADLINE * 3, self.answers.recv()).await.expect("an answer").unwrap()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    let Some(event) = shared.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = (chrono::Utc::now().timestamp_millis() + 30_000).to_string();
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ("lambda-runtime-deadline-ms", deadline),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:chat".to_owned(),
        ),
    ];
    (headers, Json(event)).into_response()
}

async fn response(
    State(shared): State<Arc<Shared>>,
    Path(_): Path<String>,
    // Not `Json`: a runtime need not send the content type.
    answer: Bytes,
) -> StatusCode {
    shared.answers.send(serde_json::from_slice(&answer).unwrap()).await.unwrap();
    StatusCode::ACCEPTED
}

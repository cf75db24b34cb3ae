//! A receiver of traces: OTLP over HTTP.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    resource::v1::Resource,
    trace::v1::{Span as ProtoSpan, status::StatusCode as Outcome},
};
use prost::Message as _;
use tokio::net::TcpListener;

use crate::wait::eventually;

/// A running receiver. Clones share its spans.
#[derive(Clone)]
pub struct OtlpReceiver {
    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: String,
    spans: Arc<Mutex<Vec<ReceivedSpan>>>,
}

/// A span, with ids in hexadecimal.
#[derive(Debug, Clone)]
pub struct ReceivedSpan {
    pub service: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty for the root of a trace.
    pub parent: String,
    pub is_failed: bool,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn service(resource: &Resource) -> String {
    let attribute = resource.attributes.iter().find(|pair| pair.key == "service.name");
    let value = attribute.and_then(|pair| pair.value.clone()?.value);
    let Some(Value::StringValue(name)) = value else { panic!("no service.name: {resource:?}") };
    name
}

impl ReceivedSpan {
    fn new(service: &str, span: ProtoSpan) -> Self {
        Self {
            service: service.to_owned(),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            is_failed: span.status.is_some_and(|status| status.code() == Outcome::Error),
        }
    }
}

impl OtlpReceiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let receiver = Self { endpoint, spans: Arc::default() };
        let router =
            Router::new().route("/v1/traces", post(receive)).with_state(receiver.spans.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver
    }

    /// What was received so far.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the spans with this name of a trace, as many as expected.
    pub async fn expect(&self, trace: &str, name: &str, count: usize) -> Vec<ReceivedSpan> {
        eventually(&format!("{count} spans {name}"), || async {
            let mut spans = self.spans();
            spans.retain(|span| span.trace == trace && span.name == name);
            (spans.len() >= count).then_some(spans)
        })
        .await
    }
}

async fn receive(
    State(spans): State<Arc<Mutex<Vec<ReceivedSpan>>>>,
    body: Bytes,
) -> Result<(), StatusCode> {
    let request = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut received = spans.lock().unwrap_or_else(PoisonError::into_inner);
    for group in request.resource_spans {
        let service = service(&group.resource.unwrap_or_default());
        let scopes = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        received.extend(scopes.map(|span| ReceivedSpan::new(&service, span)));
    }
    Ok(())
}

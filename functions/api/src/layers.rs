//! What every request goes through: an id and a trace, a span, a deadline, headers, problems.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use service::trace::TraceParent;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
};
use tracing::Instrument as _;

use crate::{config::Config, error::ApiError, paced_body};

/// Bytes of a request body; the largest is a message of 4,000 characters.
const BODY_BYTES: usize = 64 * 1024;
/// How long a request may take: below the 29 s of API Gateway.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// What the page asks the browser for is nothing yet; calls will want camera and microphone.
const NO_DEVICES: &str = "camera=(), microphone=(), geolocation=(), payment=(), usb=()";

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Says that a page of history holds what is archived and nothing newer.
pub const HISTORY: HeaderName = HeaderName::from_static("x-history");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Wraps a router in all of it.
pub fn wrap<S: Clone + Send + Sync + 'static>(router: Router<S>, config: &Config) -> Router<S> {
    router
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(config.pace, paced_body::pace_large))
        .layer(cors(&config.origins))
        .layer(middleware::from_fn(observe))
}

fn cors(origins: &[String]) -> CorsLayer {
    let allowed = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(allowed)
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, REQUEST_ID, TRACEPARENT])
        .expose_headers([REQUEST_ID, HISTORY, header::RETRY_AFTER])
        .max_age(service::cors::MAX_AGE)
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    ApiError::Internal(anyhow::anyhow!("a handler panicked: {text}")).into_response()
}

/// An id that may stand in a log line and a header.
fn sane(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=64).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A method as a metric's label: a client may send any word, each would be a series of its own.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id =
        request.headers().get(REQUEST_ID).filter(|id| sane(id)).cloned().unwrap_or_else(|| {
            // Hexadecimal digits and hyphens are a header value.
            HeaderValue::from_str(&uuid::Uuid::now_v7().to_string())
                .unwrap_or(HeaderValue::from_static("none"))
        });
    let trace = request
        .headers()
        .get(TRACEPARENT)
        .and_then(|value| value.to_str().ok()?.parse::<TraceParent>().ok())
        .map_or_else(TraceParent::root, TraceParent::child);
    request.extensions_mut().insert(trace);
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        trace = trace.trace_id(),
        %method,
        route,
    );
    let answer = tokio::time::timeout(ANSWER_WITHIN, next.run(request)).instrument(span.clone());
    let mut response = answer.await.unwrap_or_else(|_| ApiError::Timeout.into_response());
    let status = response.status().as_u16();
    span.in_scope(|| {
        let millis = started.elapsed().as_millis() as u64;
        tracing::info!(status, millis, "answered");
    });
    let labels =
        [("method", known(&method).to_owned()), ("route", route), ("status", status.to_string())];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_duration_seconds", &labels).record(started.elapsed());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), NO_DEVICES),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages have policies of their own; anything else shown as a page may load and run nothing.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    // Whoever is to try again is told when, whichever part of us refused it.
    if matches!(status, 429 | 503) {
        headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    // Answers are about one caller; pages and assets say otherwise themselves.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode, routing};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn every_429_and_503_says_when_to_try_again() {
        let answer = |status: StatusCode| routing::get(move || std::future::ready(status));
        let router = Router::new()
            .route("/429", answer(StatusCode::TOO_MANY_REQUESTS))
            .route("/503", answer(StatusCode::SERVICE_UNAVAILABLE))
            .route("/500", answer(StatusCode::INTERNAL_SERVER_ERROR))
            .layer(middleware::from_fn(observe));
        for (path, expected) in [("/429", true), ("/503", true), ("/500", false)] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), expected, "{path}");
        }
    }
}

//! Middleware around every route: request id, trace, span, metrics, time limit, response headers, panics as problems.

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
use service::trace::{Span, TraceParent};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
    propagate_header::PropagateHeaderLayer,
    sensitive_headers::{SetSensitiveRequestHeadersLayer, SetSensitiveResponseHeadersLayer},
    set_header::{SetRequestHeaderLayer, SetResponseHeaderLayer},
};
use tracing::Instrument as _;

use crate::{error::ApiError, paced_body, site::Site};

/// Bytes of a request body. The largest valid body is a message of 4,000 characters.
const BODY_BYTES: usize = 64 * 1024;
/// Time limit for a request. API Gateway gives up after 29 s.
const REQUEST_WITHIN: Duration = Duration::from_secs(15);
/// Length of a client's request id, in bytes.
const REQUEST_ID_BYTES: std::ops::RangeInclusive<usize> = 1..=64;

/// The page uses no device yet.
const NO_DEVICES: &str = "camera=(), microphone=(), geolocation=(), payment=(), usb=()";
/// Content that is opened as a page may load nothing. Real pages set a policy that names what they load.
const LOAD_NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Marks a page of history that holds only archived messages, because the newest could not be read.
pub const HISTORY: HeaderName = HeaderName::from_static("x-history");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Adds all middleware and the fallbacks. A later `layer` is outside the earlier ones; in a tuple, the first layer is
/// the outermost.
pub fn wrap<S: Clone + Send + Sync + 'static>(router: Router<S>, site: &Site) -> Router<S> {
    let router = router
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        // Not tower-http's body limit, which answers without a problem body.
        .layer((CatchPanicLayer::custom(problem_of_panic), DefaultBodyLimit::max(BODY_BYTES)))
        .layer(middleware::from_fn_with_state(site.pace, paced_body::pace_large))
        .layer(cors(&site.origins))
        .layer(middleware::from_fn(observe));
    with_headers(router)
}

/// Sets the headers of all requests and responses, including those of the fallbacks and of CORS.
fn with_headers<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let fixed =
        |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    let default =
        |name, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    router.layer((
        // Not `SetRequestIdLayer`, which keeps any id that a client sends.
        SetRequestHeaderLayer::overriding(REQUEST_ID, request_id),
        PropagateHeaderLayer::new(REQUEST_ID),
        SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION, header::COOKIE]),
        SetSensitiveResponseHeadersLayer::new([header::SET_COOKIE]),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        fixed(header::REFERRER_POLICY, "no-referrer"),
        fixed(header::X_FRAME_OPTIONS, "DENY"),
        fixed(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        fixed(HeaderName::from_static("permissions-policy"), NO_DEVICES),
        default(header::CONTENT_SECURITY_POLICY, LOAD_NOTHING),
        // Most responses depend on the caller. Pages and assets set this header themselves.
        default(header::CACHE_CONTROL, "no-store"),
        SetResponseHeaderLayer::if_not_present(header::RETRY_AFTER, default_retry_after),
    ))
}

/// The client's request id if it is safe in a log line and in a header, otherwise a new one.
fn request_id(request: &Request) -> Option<HeaderValue> {
    let given = request.headers().get(REQUEST_ID).filter(|id| is_safe_id(id)).cloned();
    given.or_else(|| HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()).ok())
}

fn is_safe_id(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    REQUEST_ID_BYTES.contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Every 429 and 503 has a `Retry-After`, also those that no [`ApiError`] made.
fn default_retry_after(response: &Response) -> Option<HeaderValue> {
    matches!(response.status().as_u16(), 429 | 503).then_some(HeaderValue::from_static("1"))
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

fn problem_of_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    ApiError::Internal(anyhow::anyhow!("a handler panicked: {text}")).into_response()
}

/// The label of a method in metrics. Clients may send any word as a method, and each label is one more time series.
fn method_label(method: &Method) -> &'static str {
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

fn header_text(request: &Request, name: HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

/// Trace, span, log line, metrics and time limit of a request. By hand, because tower-http's `TraceLayer` boxes every
/// response body and its `TimeoutLayer` answers without a problem body.
async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let parent = header_text(&request, TRACEPARENT).and_then(|value| value.parse().ok());
    let name = || format!("{} {route}", method_label(&method));
    let (trace, exported) = TraceParent::begin(name, parent);
    let span = tracing::info_span!(
        "request",
        id = header_text(&request, REQUEST_ID).unwrap_or_default(),
        trace = trace.trace_id(),
        %method,
        route,
    );
    request.extensions_mut().insert(trace);
    let response = tokio::time::timeout(REQUEST_WITHIN, trace.scope(next.run(request)));
    let response = response.instrument(span.clone());
    let response = response.await.unwrap_or_else(|_| ApiError::Timeout.into_response());
    let status = response.status().as_u16();
    span.in_scope(|| {
        let millis = started.elapsed().as_millis() as u64;
        tracing::info!(status, millis, "answered");
    });
    if let Some(exported) = exported {
        describe(exported, &method, &route, status);
    }
    let method = method_label(&method).to_owned();
    let labels = [("method", method), ("route", route), ("status", status.to_string())];
    metrics::counter!("chat_http_requests_total", &labels).increment(1);
    metrics::histogram!("chat_http_request_duration_seconds", &labels).record(started.elapsed());
    response
}

/// Sets the attributes of a request's span, and ends it. Not the path, which has names of rooms.
fn describe(mut span: Span, method: &Method, route: &str, status: u16) {
    span.set("http.request.method", method_label(method));
    span.set("http.route", route.to_owned());
    span.set("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.fail(format!("status {status}"));
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode, routing};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn every_429_and_503_has_retry_after() {
        let answer = |status: StatusCode| routing::get(move || std::future::ready(status));
        let router = Router::new()
            .route("/429", answer(StatusCode::TOO_MANY_REQUESTS))
            .route("/503", answer(StatusCode::SERVICE_UNAVAILABLE))
            .route("/500", answer(StatusCode::INTERNAL_SERVER_ERROR));
        let router = with_headers(router);
        for (path, expected) in [("/429", true), ("/503", true), ("/500", false)] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), expected, "{path}");
        }
    }
}

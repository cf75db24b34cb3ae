//! The WebSocket handshake over HTTP; what comes after it is a shard's.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

use crate::{Gateway, shard::Command};

/// Spreads sockets over shards evenly.
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

/// The query of an Engine.IO handshake.
#[derive(Deserialize)]
struct Query {
    #[serde(rename = "EIO")]
    version: Option<String>,
    transport: Option<String>,
    sid: Option<String>,
}

/// Why a handshake is refused; the codes are Engine.IO's.
#[derive(Debug, Clone, Copy)]
enum Refused {
    UnknownTransport,
    UnknownSid,
    BadMethod,
    BadRequest,
    Forbidden,
    UnsupportedVersion,
    Draining,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::UnknownTransport => (StatusCode::BAD_REQUEST, 0, "Transport unknown"),
            Self::UnknownSid => (StatusCode::BAD_REQUEST, 1, "Session ID unknown"),
            Self::BadMethod => (StatusCode::BAD_REQUEST, 2, "Bad handshake method"),
            Self::BadRequest => (StatusCode::BAD_REQUEST, 3, "Bad request"),
            Self::Forbidden => (StatusCode::FORBIDDEN, 4, "Forbidden"),
            Self::UnsupportedVersion => {
                (StatusCode::BAD_REQUEST, 5, "Unsupported protocol version")
            }
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, 3, "The gateway is stopping"),
        };
        metrics::counter!("gateway_handshakes_refused_total", "reason" => message).increment(1);
        let mut response =
            (status, Json(json!({ "code": code, "message": message }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

/// `GET /socket.io/?EIO=4&transport=websocket`
pub async fn handle(State(gateway): State<Gateway>, request: Request) -> Response {
    match upgrade(&gateway, request) {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

fn upgrade(gateway: &Gateway, mut request: Request) -> Result<Response, Refused> {
    let query = axum::extract::Query::<Query>::try_from_uri(request.uri());
    let Query { version, transport, sid } = query.map_err(|_| Refused::BadRequest)?.0;
    if version.as_deref() != Some("4") {
        return Err(Refused::UnsupportedVersion);
    }
    if transport.as_deref() != Some("websocket") {
        return Err(Refused::UnknownTransport);
    }
    if sid.is_some() {
        return Err(Refused::UnknownSid);
    }
    if request.method() != axum::http::Method::GET {
        return Err(Refused::BadMethod);
    }
    if !origin_allowed(request.headers(), gateway.origins()) {
        return Err(Refused::Forbidden);
    }
    if gateway.is_draining() {
        return Err(Refused::Draining);
    }
    let response = tungstenite::handshake::server::create_response_with_body(&request, Body::empty)
        .map_err(|_| Refused::BadRequest)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let shards = gateway.shards().clone();
    let shard = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % shards.count();
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "a WebSocket handshake was not finished"),
        };
        let Ok(parts) = downcast::<TokioIo<TcpStream>>(upgraded) else {
            return tracing::error!("the gateway needs plain TCP; end TLS in front of it");
        };
        let stream = parts.io.into_inner();
        // Without it, small frames wait for the acknowledgement of the ones before.
        let stream = stream.set_nodelay(true).and_then(|()| stream.into_std());
        match stream {
            Ok(stream) => {
                shards.send(shard, Command::Accept { stream, received: parts.read_buf }).await;
            }
            Err(error) => tracing::debug!(%error, "a socket broke at its handshake"),
        }
    });
    Ok(response)
}

/// Pages send their origin, programs none. A page of another site must not use its visitor's
/// network position, even though it cannot use the visitor's token.
fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_and_programs_may_connect() {
        let allowed = ["https://chat.example".to_owned()];
        let from = |origin: &'static str| {
            HeaderMap::from_iter([(header::ORIGIN, header::HeaderValue::from_static(origin))])
        };
        assert!(origin_allowed(&HeaderMap::new(), &allowed));
        assert!(origin_allowed(&from("https://chat.example"), &allowed));
        for other in ["https://chat.example.evil", "http://chat.example", "null", ""] {
            assert!(!origin_allowed(&from(other), &allowed), "{other}");
        }
        assert!(origin_allowed(&from("https://x.example"), &["*".to_owned()]));
    }
}

//! Error responses to HTTP requests. They replace error events, which need a socket.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::Code;
use serde_json::json;

/// The version of the WebSocket protocol that the gateway supports.
pub const WEBSOCKET_VERSION: &str = "13";

/// Why a request is refused.
#[derive(Debug, Clone, Copy)]
pub enum HandshakeRefusal {
    UnknownTransport,
    UnknownSid,
    BadMethod,
    BadRequest,
    /// The client aborted the request, so it does not read the response.
    Aborted,
    Forbidden,
    UnsupportedVersion,
    WrongWebSocketVersion,
    TooManyFromAddress,
    TooLarge,
    TooSlow,
    Draining,
    MemoryShort,
}

impl HandshakeRefusal {
    /// The HTTP status, Engine.IO's error number and message, and the error code, if there is one.
    fn parts(self) -> (StatusCode, u8, &'static str, Option<Code>) {
        use StatusCode as S;
        match self {
            Self::UnknownTransport => (S::BAD_REQUEST, 0, "Transport unknown", None),
            Self::UnknownSid => (S::BAD_REQUEST, 1, "Session ID unknown", None),
            Self::BadMethod => (S::BAD_REQUEST, 2, "Bad handshake method", None),
            Self::BadRequest | Self::Aborted => (S::BAD_REQUEST, 3, "Bad request", None),
            Self::Forbidden => (S::FORBIDDEN, 4, "Forbidden", None),
            Self::UnsupportedVersion => (S::BAD_REQUEST, 5, "Unsupported protocol version", None),
            Self::WrongWebSocketVersion => {
                (S::UPGRADE_REQUIRED, 3, "Unsupported WebSocket version", None)
            }
            Self::TooManyFromAddress => (
                S::TOO_MANY_REQUESTS,
                3,
                "Too many connections from this address",
                Some(Code::TooManyFromAddress),
            ),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, 3, "Body larger than maxPayload", None),
            Self::TooSlow => (S::REQUEST_TIMEOUT, 3, "The body did not come in time", None),
            Self::Draining => (S::SERVICE_UNAVAILABLE, 3, "The gateway is stopping", None),
            Self::MemoryShort => {
                (S::SERVICE_UNAVAILABLE, 3, "The gateway's memory is short", Some(Code::Busy))
            }
        }
    }
}

impl IntoResponse for HandshakeRefusal {
    fn into_response(self) -> Response {
        let (status, code, message, word) = self.parts();
        metrics::counter!("chat_gateway_handshakes_refused_total", "reason" => message)
            .increment(1);
        let mut body = json!({ "code": code, "message": message });
        if let Some(word) = word {
            body["reason"] = json!(word);
        }
        let mut response = (status, Json(body)).into_response();
        if matches!(self, Self::Draining | Self::MemoryShort | Self::TooManyFromAddress) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(self, Self::WrongWebSocketVersion) {
            let version = HeaderValue::from_static(WEBSOCKET_VERSION);
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
            // A response 426 must contain them (RFC 9110, section 15.5.22).
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        response
    }
}

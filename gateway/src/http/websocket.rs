//! The WebSocket handshake (RFC 6455, section 4.2).
//!
//! Why not the one of tungstenite: it looks at the first line of a header only, and answers no subprotocol.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header},
    response::Response,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tungstenite::handshake::derive_accept_key;

use super::refusal::{HandshakeRefusal, WEBSOCKET_VERSION};

/// Checks a handshake; returns the response that accepts it.
pub fn accept(request: &Request) -> Result<Response, HandshakeRefusal> {
    let headers = request.headers();
    let is_upgrade = request.version() == Version::HTTP_11
        && elements(headers, header::CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"))
        && elements(headers, header::UPGRADE).any(|name| name.eq_ignore_ascii_case("websocket"));
    if !is_upgrade {
        return Err(HandshakeRefusal::BadRequest);
    }
    if only(headers, header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != WEBSOCKET_VERSION)
    {
        return Err(HandshakeRefusal::WrongWebSocketVersion);
    }
    let key = only(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let key = key.ok_or(HandshakeRefusal::BadRequest)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept.map_err(|_| HandshakeRefusal::BadRequest)?);
    // As the reference does: the gateway supports no subprotocol, but some clients fail if none is answered.
    if let Some(protocol) = elements(headers, header::SEC_WEBSOCKET_PROTOCOL).next() {
        let protocol = Some(protocol).filter(|name| name.bytes().all(is_token_byte));
        let protocol = protocol.and_then(|name| HeaderValue::from_str(name).ok());
        let protocol = protocol.ok_or(HandshakeRefusal::BadRequest)?;
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// The elements of a list in a header. Several header lines are one list (RFC 9110, section 5.3), and empty
/// elements do not count (section 5.6.1).
fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(trim).filter(|element| !element.is_empty())
}

/// The value of a header that may occur only once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut lines = headers.get_all(name).into_iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    line.to_str().ok().map(trim)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Whether it is 16 bytes in base64.
fn is_key(key: &str) -> bool {
    BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// Whether it may be in a token (RFC 9110, section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The handshake of RFC 6455, section 1.2, with changed and added header lines.
    fn handshake(changed: &[(&'static str, Option<&str>)]) -> Result<Response, HandshakeRefusal> {
        let mut request = Request::new(Body::empty());
        let headers = request.headers_mut();
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, _) in changed {
            headers.remove(*name);
        }
        for (name, value) in changed {
            if let Some(value) = value {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
        }
        accept(&request)
    }

    fn is_accepted(changed: &[(&'static str, Option<&str>)]) -> bool {
        handshake(changed).is_ok()
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let response = handshake(&[]).unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn several_lines_of_a_header_are_one_list() {
        for lines in [
            &["keep-alive", "Upgrade"][..],
            &["upgrade", "keep-alive"],
            &["keep-alive, Upgrade"],
            &["close,\tUPGRADE ,", "te"],
            &["", "upgrade"],
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("connection", Some(*line))).collect();
            assert!(is_accepted(&lines), "{lines:?}");
        }
        assert!(is_accepted(&[("upgrade", Some("h2c")), ("upgrade", Some("WebSocket"))]));
        assert!(is_accepted(&[("upgrade", Some("h2c, websocket"))]));
        for (name, value) in [
            ("connection", Some("keep-alive")),
            ("connection", Some("upgrades")),
            ("connection", None),
            ("upgrade", Some("h2c")),
            ("upgrade", Some("websocket/13")),
            ("upgrade", None),
        ] {
            assert!(!is_accepted(&[(name, value)]), "{name}: {value:?}");
        }
    }

    #[test]
    fn the_first_offered_subprotocol_is_answered() {
        let name = "sec-websocket-protocol";
        for (lines, answer) in [
            (&["chat"][..], "chat"),
            (&["v10.stomp, v11.stomp"], "v10.stomp"),
            (&["", "b", "a"], "b"),
            (&[" , mqtt ,x"], "mqtt"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| (name, Some(*line))).collect();
            assert_eq!(handshake(&lines).unwrap().headers()[name], answer, "{lines:?}");
        }
        assert!(!is_accepted(&[(name, Some("a b"))]));
        assert!(!handshake(&[(name, Some(""))]).unwrap().headers().contains_key(name));
    }

    #[test]
    fn versions_and_keys_are_checked() {
        let version = "sec-websocket-version";
        for lines in [&["8"][..], &["013"], &["14"], &["13, 8"], &["13", "8"], &["x"], &[]] {
            let mut changed = vec![(version, None)];
            changed.extend(lines.iter().map(|line| (version, Some(*line))));
            let refusal = handshake(&changed).unwrap_err();
            assert!(matches!(refusal, HandshakeRefusal::WrongWebSocketVersion), "{lines:?}");
        }
        let key = "sec-websocket-key";
        for value in [None, Some(""), Some("AAAA"), Some("dGhlIHNhbXBsZSBub25jZQ")] {
            assert!(!is_accepted(&[(key, value)]), "{value:?}");
        }
        let same = Some("dGhlIHNhbXBsZSBub25jZQ==");
        assert!(!is_accepted(&[(key, same), (key, same)]));
    }
}

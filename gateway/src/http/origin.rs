//! The allow-list of page origins.

use axum::http::{HeaderMap, HeaderValue, header, uri::Authority};

/// Whether a request's `Origin` may connect; `*` allows all. A request without an origin is allowed, because
/// programs usually send none. Without this check, a page of another site could reach a gateway in its
/// visitor's private network, even without their token.
pub fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
        || headers.get(header::HOST).is_some_and(|host| is_gateway_address(origin, host))
}

/// Whether the origin is this gateway's own IP address or `localhost`, which some client libraries send. A host
/// name does not count, because its owner can resolve it to this address (DNS rebinding).
fn is_gateway_address(origin: &str, host: &HeaderValue) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let Some(authority) = rest.and_then(|rest| rest.parse::<Authority>().ok()) else {
        return false;
    };
    let name = authority.host().trim_matches(['[', ']']);
    authority.as_str().as_bytes() == host.as_bytes()
        && (name == "localhost" || name.parse::<std::net::IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_and_programs_may_connect() {
        let allowed = ["https://chat.example".to_owned()];
        let from = |origin: &'static str, host: &'static str| {
            HeaderMap::from_iter([
                (header::ORIGIN, HeaderValue::from_static(origin)),
                (header::HOST, HeaderValue::from_static(host)),
            ])
        };
        assert!(is_allowed(&HeaderMap::new(), &allowed));
        assert!(is_allowed(&from("https://chat.example", "gateway.example"), &allowed));
        for (origin, host) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://[::1]:8081", "[::1]:8081"),
            ("http://localhost:8081", "localhost:8081"),
        ] {
            assert!(is_allowed(&from(origin, host), &allowed), "{origin}");
        }
        for (origin, host) in [
            ("https://chat.example.evil", "gateway.example"),
            ("http://chat.example", "gateway.example"),
            ("null", "gateway.example"),
            ("", "gateway.example"),
            ("https://evil.example", "evil.example"),
            ("http://127.0.0.1:9999", "127.0.0.1:8081"),
            ("http://evil@127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://127.0.0.1:8081/x", "127.0.0.1:8081"),
        ] {
            assert!(!is_allowed(&from(origin, host), &allowed), "{origin}");
        }
        assert!(is_allowed(&from("https://x.example", "y"), &["*".to_owned()]));
    }
}

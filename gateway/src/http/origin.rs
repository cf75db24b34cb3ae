//! The allow-list of page origins.

use axum::http::{HeaderMap, HeaderValue, header, uri::Authority};

/// Whether a request's `Origin` may connect. A request without an origin is allowed, because programs usually send
/// none. Without this check, a page of another site could reach a gateway in its visitor's private network, even
/// without their token.
pub fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        is_listed(origin, allowed)
            || headers.get(header::HOST).is_some_and(|host| is_gateway_address(origin, host))
    })
}

/// Whether an origin is in the list, in which `*` stands for all.
pub fn is_listed(origin: &HeaderValue, allowed: &[String]) -> bool {
    let Ok(origin) = origin.to_str() else { return allowed.iter().any(|allowed| allowed == "*") };
    let parsed = WebOrigin::parse(origin);
    allowed.iter().any(|allowed| {
        allowed == "*"
            || allowed.eq_ignore_ascii_case(origin)
            || parsed
                .as_ref()
                .is_some_and(|parsed| WebOrigin::parse(allowed).as_ref() == Some(parsed))
    })
}

/// Whether the origin is this gateway's own IP address or `localhost`, which some client libraries send. A host
/// name does not count, because its owner can resolve it to this address (DNS rebinding).
fn is_gateway_address(origin: &HeaderValue, host: &HeaderValue) -> bool {
    let Some(origin) = origin.to_str().ok().and_then(WebOrigin::parse) else { return false };
    let Some(host) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let name = origin.host.trim_matches(['[', ']']);
    let is_address = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok();
    is_address && WebOrigin::new(origin.is_secure, &host).as_ref() == Some(&origin)
}

/// An origin of HTTP. Native clients write `ws` or `wss` instead of `http` or `https`, because they take the
/// origin from the URL of the WebSocket; it is the same origin.
#[derive(PartialEq, Eq)]
struct WebOrigin {
    is_secure: bool,
    /// In lower case.
    host: String,
    port: u16,
}

impl WebOrigin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return None,
        };
        Self::new(is_secure, &authority.parse().ok()?)
    }

    /// None if there is more than a host and a port.
    fn new(is_secure: bool, authority: &Authority) -> Option<Self> {
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host)? {
            "" if is_secure => 443,
            "" => 80,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        Some(Self { is_secure, host: host.to_ascii_lowercase(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &str, host: &str) -> HeaderMap {
        HeaderMap::from_iter([
            (header::ORIGIN, HeaderValue::from_str(origin).unwrap()),
            (header::HOST, HeaderValue::from_str(host).unwrap()),
        ])
    }

    #[test]
    fn listed_origins_and_programs_may_connect() {
        let allowed =
            ["https://chat.example", "wss://socket.example:8443", "capacitor://localhost"];
        let allowed = allowed.map(str::to_owned);
        assert!(is_allowed(&HeaderMap::new(), &allowed));
        for origin in [
            "https://chat.example",
            "HTTPS://Chat.Example",
            "https://chat.example:443",
            "wss://chat.example",
            "wss://chat.example:443",
            "https://socket.example:8443",
            "wss://socket.example:8443",
            "capacitor://localhost",
        ] {
            assert!(is_allowed(&from(origin, "gateway.example"), &allowed), "{origin}");
        }
        for origin in [
            "https://chat.example.evil",
            "http://chat.example",
            "ws://chat.example",
            "ws://chat.example:443",
            "wss://chat.example:444",
            "wss://socket.example",
            "wss://evil@chat.example",
            "wss://chat.example/",
            "wss://chat.example:",
            "wss:chat.example",
            "ionic://localhost",
            "wsss://chat.example",
            "null",
            "",
        ] {
            assert!(!is_allowed(&from(origin, "gateway.example"), &allowed), "{origin}");
        }
        let mut two = from("https://chat.example", "gateway.example");
        two.append(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(!is_allowed(&two, &allowed));
        assert!(is_allowed(&from("https://x.example", "y"), &["*".to_owned()]));
    }

    #[test]
    fn the_gateways_own_address_may_connect_and_its_name_may_not() {
        for (origin, host) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://[::1]:8081", "[::1]:8081"),
            ("http://localhost:8081", "localhost:8081"),
            ("ws://127.0.0.1:8081", "127.0.0.1:8081"),
            ("ws://[::1]:8081", "[::1]:8081"),
            ("ws://192.0.2.7", "192.0.2.7"),
            ("ws://192.0.2.7", "192.0.2.7:80"),
            ("wss://192.0.2.7:443", "192.0.2.7"),
            ("wss://LOCALHOST", "localhost"),
        ] {
            assert!(is_allowed(&from(origin, host), &[]), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://evil.example", "evil.example"),
            ("wss://evil.example", "evil.example"),
            ("ws://evil.example", "evil.example"),
            ("http://127.0.0.1:9999", "127.0.0.1:8081"),
            ("ws://127.0.0.1", "127.0.0.1:8081"),
            ("wss://127.0.0.1", "127.0.0.1:80"),
            ("http://evil@127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://127.0.0.1:8081", "evil@127.0.0.1:8081"),
            ("http://127.0.0.1:8081/x", "127.0.0.1:8081"),
            ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example"),
            ("http://localhost.evil.example", "localhost.evil.example"),
        ] {
            assert!(!is_allowed(&from(origin, host), &[]), "{origin} {host}");
        }
    }
}

//! HTTP handshakes as clients, proxies and browsers write them: origins, header lists, subprotocols, versions, CORS.

use reqwest::Method;
use stories::{Database, Gateway, PollingSession, System, engine_io::RawWebSocket};

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
/// The handshake's headers besides those that a test varies.
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

async fn system() -> (System, Gateway) {
    let mut system = System::new(Database::Sqlite).await;
    system.set_variable("ALLOWED_ORIGINS", "https://chat.example, http://socket.example:8443");
    let gateway = system.start_gateway().await;
    (system, gateway)
}

/// Sends a WebSocket handshake with these header lines; returns the head of the response in lower case.
async fn head(gateway: &Gateway, path: &str, lines: &[&str]) -> String {
    let mut raw = RawWebSocket::connect(&gateway.base).await;
    let host = gateway.base.strip_prefix("http://").unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{}\r\n", lines.concat());
    raw.write(request.as_bytes()).await;
    let read = String::from_utf8_lossy(&raw.until(b"\r\n\r\n").await).to_lowercase();
    read.split_once("\r\n\r\n").unwrap().0.to_owned()
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_may_be_written_as_websocket_urls() {
    let (system, gateway) = system().await;
    let host = gateway.base.strip_prefix("http://").unwrap();
    let (own, own_secure) = (format!("ws://{host}"), format!("wss://{host}"));
    for (origin, expected) in [
        (own.as_str(), "101"),
        (&own_secure, "101"),
        ("wss://chat.example", "101"),
        ("WSS://chat.example:443", "101"),
        ("ws://socket.example:8443", "101"),
        ("ws://chat.example", "403"),
        ("wss://socket.example:8443", "403"),
        ("ws://127.0.0.1:1", "403"),
        ("wss://evil.example", "403"),
    ] {
        let line = format!("Origin: {origin}\r\n");
        let answer = head(&gateway, WEBSOCKET, &[UPGRADE, VERSION, KEY, &line]).await;
        assert_eq!(status(&answer), expected, "{origin}: {answer}");
        let polling = format!("{}/socket.io/?EIO=4&transport=polling", gateway.base);
        let polled = system.http.get(polling).header("origin", origin).send().await.unwrap();
        let expected = if expected == "101" { 200 } else { 403 };
        assert_eq!(polled.status(), expected, "{origin}");
    }
    // A name is refused even if it is the one that was asked for, unless it is listed.
    let rebound = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: evil.example\r\n";
    let mut raw = RawWebSocket::connect(&gateway.base).await;
    let lines = [rebound, UPGRADE, VERSION, KEY, "Origin: https://evil.example\r\n\r\n"].concat();
    raw.write(lines.as_bytes()).await;
    raw.until(b"HTTP/1.1 403").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_lines_of_a_header_are_one_list() {
    let (_system, gateway) = system().await;
    for lines in [
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive , upgrade\r\nUpgrade: h2c\r\nUpgrade: WebSocket\r\n",
        "Connection:\r\nConnection: te,UPGRADE\r\nUpgrade: h2c, websocket\r\n",
    ] {
        let answer = head(&gateway, WEBSOCKET, &[lines, VERSION, KEY]).await;
        assert_eq!(status(&answer), "101", "{lines}{answer}");
        assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    }
    for lines in [
        "Connection: keep-alive\r\nConnection: te\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    ] {
        let answer = head(&gateway, WEBSOCKET, &[lines, VERSION, KEY]).await;
        assert_eq!(status(&answer), "400", "{lines}{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_subprotocol_is_answered_and_other_versions_are_refused() {
    let (_system, gateway) = system().await;
    for (lines, answered) in [
        ("Sec-WebSocket-Protocol: chat\r\n", "chat"),
        ("Sec-WebSocket-Protocol: stomp, mqtt\r\n", "stomp"),
        ("Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Protocol: a\r\n", "b"),
    ] {
        let answer = head(&gateway, WEBSOCKET, &[UPGRADE, VERSION, KEY, lines]).await;
        assert_eq!(status(&answer), "101", "{answer}");
        assert!(
            answer.contains(&format!("\r\nsec-websocket-protocol: {answered}\r\n")),
            "{answer}"
        );
    }
    let answer = head(&gateway, WEBSOCKET, &[UPGRADE, VERSION, KEY]).await;
    assert!(!answer.contains("sec-websocket-protocol"), "{answer}");
    let session = PollingSession::open(&gateway.base, "/socket.io/").await;
    for path in [WEBSOCKET, &format!("{WEBSOCKET}&sid={}", session.sid)] {
        for lines in ["Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 25\r\n", ""] {
            let answer = head(&gateway, path, &[UPGRADE, KEY, lines]).await;
            assert_eq!(status(&answer), "426", "{lines}{answer}");
            assert!(answer.contains("\r\nsec-websocket-version: 13"), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_may_add_headers_to_their_requests() {
    let (system, gateway) = system().await;
    let preflight = async |origin: &str, method: &str, requested: &str| {
        let url = format!("{}/socket.io/?EIO=4&transport=polling", gateway.base);
        let request = system.http.request(Method::OPTIONS, url).header("origin", origin);
        let request = request.header("access-control-request-method", method);
        let answer = request.header("access-control-request-headers", requested).send().await;
        answer.unwrap().headers().clone()
    };
    for (method, requested) in [
        ("GET", "x-tenant"),
        ("POST", "content-type,x-tenant"),
        ("GET", "authorization, my-custom-header"),
    ] {
        let allowed = preflight("https://chat.example", method, requested).await;
        assert_eq!(allowed["access-control-allow-headers"], requested);
        assert_eq!(allowed["access-control-allow-origin"], "https://chat.example");
        assert_eq!(allowed["access-control-allow-credentials"], "true");
        assert!(allowed["access-control-allow-methods"].to_str().unwrap().contains(method));
        let vary: Vec<_> =
            allowed.get_all("vary").iter().map(|line| line.to_str().unwrap()).collect();
        assert!(vary.concat().contains("access-control-request-headers"), "{vary:?}");
        let refused = preflight("https://evil.example", method, requested).await;
        assert!(!refused.contains_key("access-control-allow-origin"), "{refused:?}");
    }
}

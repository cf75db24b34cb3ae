//! The memory that unauthenticated clients can make a gateway use, in every state of a connection. The
//! gateway is a separate process, so that its memory can be measured.

use futures_util::future::join_all;
use stories::{
    engine_io::{CLOSE, FIRST_OF_TEXT, RawWebSocket, TEXT, frame},
    signal,
};

use super::attacked_gateway::{AttackedGateway, FLOOD};

const MIB: usize = 1024 * 1024;
const PING: u8 = 0x89;
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A frame that violates the protocol: it has no mask.
fn violation() -> Vec<u8> {
    vec![TEXT, 1, b'3']
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_after_a_close_is_discarded() {
    let gateway = AttackedGateway::new(&[("LIMIT_HANDSHAKE_SECONDS", "2")]).await;
    let zeros = vec![0; MIB];
    let closes = [
        ("after a violation", violation()),
        ("after a close frame", frame(CLOSE, &1000_u16.to_be_bytes())),
        ("after a close packet", frame(TEXT, b"1")),
        ("after a message that is too long", [&[TEXT, 0xFF][..], &[0xFF; 8]].concat()),
    ];
    for (what, close) in closes {
        let attack = gateway.at_once(8, async |mut raw| {
            raw.write(&close).await;
            raw.flood(&zeros, 24 * MIB, FLOOD).await;
        });
        gateway.withstands(what, attack).await;
    }
    let late = gateway.at_once(8, async |mut raw| {
        raw.until(b"not authenticated in time").await;
        raw.flood(&zeros, 24 * MIB, FLOOD).await;
    });
    gateway.withstands("after the handshake's deadline", late).await;
    gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_during_a_drain_is_discarded() {
    let gateway = AttackedGateway::new(&[("DRAIN_SECONDS", "1")]).await;
    let zeros = vec![0; MIB];
    let attack = gateway.at_once(8, async |mut raw| {
        signal(gateway.server.id(), "-TERM");
        raw.until(b"the gateway stops").await;
        raw.flood(&zeros, 24 * MIB, FLOOD).await;
    });
    gateway.withstands("while it drains", attack).await;
    assert_eq!(*gateway.faults.borrow(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthenticated_sockets_use_little_memory() {
    let gateway = AttackedGateway::new(&[]).await;
    let headers = async {
        join_all((0..50).map(async |_| {
            let mut raw = RawWebSocket::connect(&gateway.base).await;
            raw.write(format!("GET {WEBSOCKET} HTTP/1.1\r\nX: ").as_bytes()).await;
            raw.flood(&[b'x'; 4_096], MIB, FLOOD).await;
        }))
        .await;
    };
    gateway.withstands("headers without end", headers).await;
    // An incomplete frame of the length that is allowed once a socket is authenticated.
    let mut begun = frame(TEXT, &[b'4'; 65_000]);
    begun.truncate(60_000);
    let messages = gateway.at_once(900, async |mut raw| {
        raw.write(&begun).await;
        // The gateway closes the socket at once, or keeps the frame until the deadline.
        let _ = tokio::time::timeout(FLOOD, raw.rest()).await;
    });
    gateway.withstands("messages that do not end", messages).await;
    let fragments = [frame(FIRST_OF_TEXT, &[b'4'; 30_000]), begun.clone()].concat();
    let messages = gateway.at_once(900, async |mut raw| {
        raw.write(&fragments).await;
        let _ = tokio::time::timeout(FLOOD, raw.rest()).await;
    });
    gateway.withstands("fragments", messages).await;
    let pings = frame(PING, b"").repeat(1_000);
    let attack = gateway.at_once(16, async |mut raw| raw.flood(&pings, 12 * MIB, FLOOD).await);
    gateway.withstands("pings whose answers are not read", attack).await;
    let pings = frame(TEXT, b"2").repeat(1_000);
    let attack = gateway.at_once(16, async |mut raw| raw.flood(&pings, 12 * MIB, FLOOD).await);
    gateway.withstands("Engine.IO pings whose answers are not read", attack).await;
    gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_bodies_share_one_bound() {
    let gateway = AttackedGateway::new(&[]).await;
    let session = &gateway.sessions(1).await[0];
    let attack = async {
        let length = format!("Content-Length: {}", 60_000);
        let body = vec![b'4'; 59_000];
        let begun = join_all((0..800).map(|_| gateway.begin_post(&session.sid, &length, &body)));
        let mut begun = begun.await;
        // Most are refused; the others keep their bodies until the deadline.
        gateway.until_memory_is_stable().await;
        begun.clear();
    };
    gateway.withstands("many bodies of one session", attack).await;

    let sessions = gateway.sessions(40).await;
    let attack = async {
        let chunks = b"1\r\n4\r\n".repeat(60_000);
        let chunked = "Transfer-Encoding: chunked";
        let begun = sessions.iter().map(|each| gateway.begin_post(&each.sid, chunked, &chunks));
        let begun = join_all(begun).await;
        gateway.until_memory_is_stable().await;
        drop(begun);
    };
    gateway.withstands("bodies in small pieces", attack).await;

    let attack = async {
        let length = format!("Content-Length: {}", 24 * MIB);
        let body = vec![b'4'; 24 * MIB];
        let sid = "A".repeat(35);
        join_all((0..8).map(|_| gateway.begin_post(&sid, &length, &body))).await;
    };
    gateway.withstands("bodies of an unknown session", attack).await;

    for (what, packet, times) in [
        ("pings by request", "2\u{1e}".to_owned(), 32_000),
        ("namespaces that do not exist", format!("40/{},\u{1e}", "x".repeat(3_000)), 20),
    ] {
        let sessions = gateway.sessions(150).await;
        let body = packet.repeat(times);
        let body = body.trim_end_matches('\u{1e}');
        let attack = async {
            join_all(sessions.iter().map(async |session| {
                for _ in 0..4 {
                    let posted = tokio::time::timeout(FLOOD, session.post(body.to_owned())).await;
                    if posted.is_err() {
                        return;
                    }
                }
            }))
            .await;
        };
        gateway.withstands(what, attack).await;
    }
    gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_upgrades_use_little_memory() {
    let gateway = AttackedGateway::new(&[("LIMIT_HANDSHAKE_SECONDS", "60")]).await;
    let mut begun = frame(TEXT, &[b'4'; 65_000]);
    begun.truncate(60_000);
    let messages = frame(TEXT, &[b'4'; 10_000]).repeat(100);
    for (what, count, bytes, total) in [
        ("a message that does not end", 900, &begun, begun.len()),
        ("messages before the change", 8, &messages, 24 * MIB),
    ] {
        let sessions = gateway.sessions(count).await;
        let attack = async {
            join_all(sessions.iter().map(async |session| {
                let path = format!("{WEBSOCKET}&sid={}", session.sid);
                let mut raw = RawWebSocket::open(&gateway.base, &path, b"101 Switching").await;
                raw.frame(TEXT, b"2probe").await;
                raw.flood(bytes, total, FLOOD).await;
                let _ = tokio::time::timeout(FLOOD, raw.rest()).await;
            }))
            .await;
        };
        gateway.withstands(what, attack).await;
    }
    // Several upgrades of one session: the first one counts, the others are refused.
    let session = &gateway.sessions(1).await[0];
    let path = format!("{WEBSOCKET}&sid={}", session.sid);
    let attack = async {
        let mut first = RawWebSocket::open(&gateway.base, &path, b"101 Switching").await;
        first.frame(TEXT, b"2probe").await;
        first.until(b"3probe").await;
        join_all((0..100).map(async |_| {
            // The close arrives with the response of the handshake, or after it.
            RawWebSocket::open(&gateway.base, &path, b"no session to take over").await;
        }))
        .await;
    };
    gateway.withstands("many that want to take over", attack).await;
    gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_conformance_echo_uses_little_memory() {
    let gateway = AttackedGateway::new(&[("CONFORMANCE_ECHO", "true")]).await;
    let messages = frame(TEXT, &[b'4'; 60_000]);
    let attack = async {
        join_all((0..16).map(async |_| {
            let path = "/engine.io/?EIO=4&transport=websocket";
            let mut raw = RawWebSocket::open(&gateway.base, path, b"0{\"sid\"").await;
            raw.flood(&messages, 24 * MIB, FLOOD).await;
        }))
        .await;
    };
    gateway.withstands("echoes that are not read", attack).await;
    gateway.assert_healthy().await;
}

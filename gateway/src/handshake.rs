//! Engine.IO over HTTP: the handshakes of both transports, long-polling's requests, and the change
//! from one to the other. What comes after is a shard's.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, header, uri::Authority},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use serde::Deserialize;
use service::client;
use tokio::{net::TcpStream, sync::oneshot};

use crate::{
    Gateway,
    admission::{Admitted, Owner},
    memory::{Exhausted, Purpose},
    refused::Refused,
    shard::{Command, Opening, Shards},
    sid::Sid,
};

/// Spreads sockets over shards evenly.
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

fn next_shard(shards: &Shards) -> usize {
    NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % shards.count()
}

#[derive(Deserialize)]
struct Query {
    #[serde(rename = "EIO")]
    version: Option<String>,
    transport: Option<String>,
    sid: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Polling,
    WebSocket,
}

/// Any request to `/socket.io/`.
pub async fn handle(
    State(gateway): State<Gateway>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let path = request.uri().path();
    let echo = path.starts_with("/engine.io/");
    answer(&gateway, peer, request, echo).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(
    gateway: &Gateway,
    peer: SocketAddr,
    request: Request,
    echo: bool,
) -> Result<Response, Refused> {
    let query = axum::extract::Query::<Query>::try_from_uri(request.uri());
    let Query { version, transport, sid } = query.map_err(|_| Refused::BadRequest)?.0;
    if version.as_deref() != Some("4") {
        return Err(Refused::UnsupportedVersion);
    }
    let transport = match transport.as_deref() {
        Some("polling") => Transport::Polling,
        Some("websocket") => Transport::WebSocket,
        _ => return Err(Refused::UnknownTransport),
    };
    if !origin_allowed(request.headers(), gateway.origins())
        || (gateway.conformance_echo() && !peer.ip().to_canonical().is_loopback())
    {
        return Err(Refused::Forbidden);
    }
    let sid = sid.map(|sid| sid.parse().map_err(|_| Refused::UnknownSid)).transpose()?;
    let admit = |headers| admit(gateway, headers, peer).map(|admitted| Opening { admitted, echo });
    match (transport, sid, request.method()) {
        (Transport::Polling, Some(sid), &Method::GET) => poll(gateway, sid).await,
        (Transport::Polling, Some(sid), &Method::POST) => post(gateway, sid, request).await,
        (Transport::Polling, None, &Method::GET) => {
            open_polling(gateway, admit(request.headers())?).await
        }
        (Transport::WebSocket, None, &Method::GET) => {
            let opening = admit(request.headers())?;
            let shard = next_shard(gateway.shards());
            upgrade(gateway, request, shard, move |stream, received| Command::Accept {
                opening,
                stream,
                received,
            })
        }
        (Transport::WebSocket, Some(sid), &Method::GET) => {
            find(gateway, sid).await?;
            let shard = sid.shard.into();
            upgrade(gateway, request, shard, move |stream, received| Command::Upgrade {
                sid,
                stream,
                received,
            })
        }
        _ => Err(Refused::BadMethod),
    }
}

/// Counts a new socket.
fn admit(
    gateway: &Gateway,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Result<Option<Admitted>, Refused> {
    if gateway.is_draining() {
        return Err(Refused::Draining);
    }
    let address = client::address(headers, peer, gateway.trusted_hops());
    let limit = gateway.limits().sockets_per_address;
    if limit == usize::MAX {
        return Ok(None);
    }
    let admitted = gateway.admission().admit(Owner::address(address), limit);
    admitted.map(Some).ok_or(Refused::TooManyFromAddress)
}

fn upgrade(
    gateway: &Gateway,
    mut request: Request,
    shard: usize,
    command: impl FnOnce(std::net::TcpStream, Bytes) -> Command + Send + 'static,
) -> Result<Response, Refused> {
    let response = tungstenite::handshake::server::create_response_with_body(&request, Body::empty)
        .map_err(|_| Refused::BadRequest)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let shards = gateway.shards().clone();
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
            Ok(stream) => shards.send(shard, command(stream, parts.read_buf)).await,
            Err(error) => tracing::debug!(%error, "a socket broke at its handshake"),
        }
    });
    Ok(response)
}

async fn open_polling(gateway: &Gateway, opening: Opening) -> Result<Response, Refused> {
    let (respond, answer) = oneshot::channel();
    let shard = next_shard(gateway.shards());
    gateway.shards().send(shard, Command::OpenPolling { opening, respond }).await;
    answer.await.map(packets).map_err(|_| Refused::Draining)
}

async fn poll(gateway: &Gateway, sid: Sid) -> Result<Response, Refused> {
    let (respond, answer) = oneshot::channel();
    gateway.shards().send(sid.shard.into(), Command::Poll { sid, respond }).await;
    answer.await.map(packets).map_err(|_| Refused::UnknownSid)
}

async fn post(gateway: &Gateway, sid: Sid, request: Request) -> Result<Response, Refused> {
    let (respond, begun) = oneshot::channel();
    gateway.shards().send(sid.shard.into(), Command::BeginPost { sid, respond }).await;
    let (posting, limit) = begun.await.map_err(|_| Refused::UnknownSid)?;
    // Held until its packets are taken. A body without a length may be as long as any.
    let length = request.body().size_hint().upper().and_then(|length| length.try_into().ok());
    let held = gateway.budget().try_reserve(length.unwrap_or(limit).min(limit), Purpose::Live);
    let _held = held.map_err(|Exhausted| Refused::MemoryShort)?;
    let body = read_body(request.into_body(), limit);
    let body = tokio::time::timeout(gateway.limits().step(), body).await;
    let body = body.map_err(|_| Refused::TooSlow)??;
    let (respond, answer) = oneshot::channel();
    gateway.shards().send(sid.shard.into(), Command::Post { sid, body, posting, respond }).await;
    answer.await.map(|()| packets(Bytes::from_static(b"ok"))).map_err(|_| Refused::BadRequest)
}

/// Bytes that are read and thrown away of a body that is too long: a client that is cut off while it
/// sends may not see the answer.
const DISCARDED: usize = 1024 * 1024;

/// Reads a body of at most `limit` bytes into one buffer: kept as they come, many small chunks would
/// cost a multiple of their bytes.
async fn read_body(body: Body, limit: usize) -> Result<String, Refused> {
    if body.size_hint().lower() > (limit + DISCARDED) as u64 {
        return Err(Refused::TooLarge);
    }
    let (mut chunks, mut text, mut size) = (body.into_data_stream(), Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refused::BadRequest)?;
        size += chunk.len();
        if size <= limit {
            text.extend_from_slice(&chunk);
        } else if size > limit + DISCARDED {
            return Err(Refused::TooLarge);
        }
    }
    if size > limit {
        return Err(Refused::TooLarge);
    }
    String::from_utf8(text).map_err(|_| Refused::BadRequest)
}

async fn find(gateway: &Gateway, sid: Sid) -> Result<(), Refused> {
    let (respond, found) = oneshot::channel();
    gateway.shards().send(sid.shard.into(), Command::Find { sid, respond }).await;
    found.await.map_err(|_| Refused::UnknownSid)
}

/// No cache may keep a session's packets.
fn packets(body: Bytes) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    ([(header::CACHE_CONTROL, no_store), (header::CONTENT_TYPE, text)], body).into_response()
}

/// Pages send their origin, most programs none. A page of another site must not use its visitor's
/// network position, even though it cannot use the visitor's token.
fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
        || headers.get(header::HOST).is_some_and(|host| is_own_address(origin, host))
}

/// The origin is this gateway, asked by its address, as some programs' libraries say it of themselves.
/// Not by a name: whoever owns a name can point it here (DNS rebinding).
fn is_own_address(origin: &str, host: &HeaderValue) -> bool {
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
        assert!(origin_allowed(&HeaderMap::new(), &allowed));
        assert!(origin_allowed(&from("https://chat.example", "gateway.example"), &allowed));
        for (origin, host) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://[::1]:8081", "[::1]:8081"),
            ("http://localhost:8081", "localhost:8081"),
        ] {
            assert!(origin_allowed(&from(origin, host), &allowed), "{origin}");
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
            assert!(!origin_allowed(&from(origin, host), &allowed), "{origin}");
        }
        assert!(origin_allowed(&from("https://x.example", "y"), &["*".to_owned()]));
    }
}

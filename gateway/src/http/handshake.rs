//! The Engine.IO handshake of both transports, and the upgrade from long-polling to WebSocket.

use std::net::SocketAddr;

use axum::{
    body::Bytes,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method},
    response::{IntoResponse, Response},
};
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use protocol::subject::TRACEPARENT;
use serde::Deserialize;
use service::{
    admission::{Admitted, Owner},
    client,
    trace::TraceParent,
};
use tokio::{net::TcpStream, sync::oneshot};

use super::{origin, polling, refusal::HandshakeRefusal, state::HttpState, websocket};
use crate::{
    command::{Opening, WorkerCommand},
    wire::sid::Sid,
};

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

/// Handles any request to `/socket.io/`, and to `/engine.io/` if `CONFORMANCE_ECHO` is set.
pub async fn handle(
    State(state): State<HttpState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    answer(&state, peer, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(
    state: &HttpState,
    peer: SocketAddr,
    request: Request,
) -> Result<Response, HandshakeRefusal> {
    let engine_echo = request.uri().path().starts_with("/engine.io/");
    let query = axum::extract::Query::<Query>::try_from_uri(request.uri());
    let Query { version, transport, sid } = query.map_err(|_| HandshakeRefusal::BadRequest)?.0;
    if version.as_deref() != Some("4") {
        return Err(HandshakeRefusal::UnsupportedVersion);
    }
    let transport = match transport.as_deref() {
        Some("polling") => Transport::Polling,
        Some("websocket") => Transport::WebSocket,
        _ => return Err(HandshakeRefusal::UnknownTransport),
    };
    if !origin::is_allowed(request.headers(), &state.origins)
        || (state.conformance_echo && !peer.ip().to_canonical().is_loopback())
    {
        return Err(HandshakeRefusal::Forbidden);
    }
    let sid = sid.map(|sid| sid.parse().map_err(|_| HandshakeRefusal::UnknownSid)).transpose()?;
    let opening = |headers: &HeaderMap| {
        let trace = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let trace = trace.and_then(TraceParent::of_connection);
        admit(state, headers, peer).map(|admitted| Opening { admitted, engine_echo, trace })
    };
    match (transport, sid, request.method()) {
        (Transport::Polling, Some(sid), &Method::GET) => polling::poll(state, sid).await,
        (Transport::Polling, Some(sid), &Method::POST) => polling::post(state, sid, request).await,
        (Transport::Polling, None, &Method::GET) => {
            polling::open(state, opening(request.headers())?).await
        }
        (Transport::WebSocket, None, &Method::GET) => {
            let opening = opening(request.headers())?;
            let worker = state.next_worker();
            upgrade(state, request, worker, move |stream, received| WorkerCommand::Accept {
                opening,
                stream,
                received,
            })
        }
        (Transport::WebSocket, Some(sid), &Method::GET) => {
            find(state, sid).await?;
            let worker = sid.worker.into();
            upgrade(state, request, worker, move |stream, received| WorkerCommand::Upgrade {
                sid,
                stream,
                received,
            })
        }
        _ => Err(HandshakeRefusal::BadMethod),
    }
}

/// Counts a new socket towards the limit of its client's address.
fn admit(
    state: &HttpState,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Result<Option<Admitted>, HandshakeRefusal> {
    if state.draining.is_cancelled() {
        return Err(HandshakeRefusal::Draining);
    }
    let limit = state.limits.sockets_per_address;
    if limit == usize::MAX {
        return Ok(None);
    }
    let address = client::address(headers, peer, state.trusted_hops);
    let admitted = state.admission.admit(Owner::address(address), limit);
    admitted.map(Some).ok_or(HandshakeRefusal::TooManyFromAddress)
}

/// Completes a WebSocket handshake, then passes the connection to a worker.
fn upgrade(
    state: &HttpState,
    mut request: Request,
    worker: usize,
    command: impl FnOnce(std::net::TcpStream, Bytes) -> WorkerCommand + Send + 'static,
) -> Result<Response, HandshakeRefusal> {
    let response = websocket::accept(&request)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let workers = state.workers.clone();
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "a WebSocket handshake was not completed"),
        };
        let Ok(parts) = downcast::<TokioIo<TcpStream>>(upgraded) else {
            return tracing::error!("the gateway needs plain TCP: terminate TLS in front of it");
        };
        let stream = parts.io.into_inner();
        // Disables Nagle's algorithm: otherwise a small frame waits until the peer has acknowledged the
        // previous one.
        let stream = stream.set_nodelay(true).and_then(|()| stream.into_std());
        match stream {
            Ok(stream) => workers.send(worker, command(stream, parts.read_buf)).await,
            Err(error) => tracing::debug!(%error, "a connection broke during its handshake"),
        }
    });
    Ok(response)
}

async fn find(state: &HttpState, sid: Sid) -> Result<(), HandshakeRefusal> {
    let (respond, found) = oneshot::channel();
    state.workers.send(sid.worker.into(), WorkerCommand::Find { sid, respond }).await;
    found.await.map_err(|_| HandshakeRefusal::UnknownSid)
}

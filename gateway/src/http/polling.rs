//! Long-polling requests: opening a session, polling for packets, posting packets.

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::Request,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use tokio::{runtime::Handle, sync::oneshot};

use super::{refusal::HandshakeRefusal, state::HttpState};
use crate::{
    command::{Opening, WorkerCommand, Workers},
    memory::{Exhausted, Purpose},
    wire::sid::Sid,
};

/// Bytes of an oversized body that are read and discarded, because a client whose connection is closed while it
/// still sends may not receive the response.
const DISCARDED: usize = 1024 * 1024;

/// Opens a session; the response is its first packet.
pub async fn open(state: &HttpState, opening: Opening) -> Result<Response, HandshakeRefusal> {
    let (respond, answer) = oneshot::channel();
    let worker = state.next_worker();
    state.workers.send(worker, WorkerCommand::OpenPolling { opening, respond }).await;
    answer.await.map(packets).map_err(|_| HandshakeRefusal::Draining)
}

/// Waits for packets.
pub async fn poll(state: &HttpState, sid: Sid) -> Result<Response, HandshakeRefusal> {
    let (respond, answer) = oneshot::channel();
    let abort = AbortOnDrop::new(state, sid);
    state.workers.send(sid.worker.into(), WorkerCommand::Poll { sid, respond }).await;
    let answer = answer.await;
    abort.disarm();
    answer.map(packets).map_err(|_| HandshakeRefusal::UnknownSid)
}

/// Passes a client's packets to its worker.
pub async fn post(
    state: &HttpState,
    sid: Sid,
    request: Request,
) -> Result<Response, HandshakeRefusal> {
    let (respond, begun) = oneshot::channel();
    let worker = sid.worker.into();
    state.workers.send(worker, WorkerCommand::BeginPost { sid, respond }).await;
    let (posting, limit) = begun.await.map_err(|_| HandshakeRefusal::UnknownSid)?;
    // Reserved until the packets are handled. A body without a declared length may be as long as the limit.
    let length = request.body().size_hint().upper().and_then(|length| length.try_into().ok());
    let held = state.budget.try_reserve(length.unwrap_or(limit).min(limit), Purpose::Live);
    let _held = held.map_err(|Exhausted| HandshakeRefusal::MemoryShort)?;
    let abort = AbortOnDrop::new(state, sid);
    let body = read_body(request.into_body(), limit);
    let body = tokio::time::timeout(state.limits.step(), body).await;
    if !matches!(body, Ok(Err(HandshakeRefusal::Aborted))) {
        abort.disarm();
    }
    let body = body.map_err(|_| HandshakeRefusal::TooSlow)??;
    let (respond, answer) = oneshot::channel();
    state.workers.send(worker, WorkerCommand::Post { sid, body, posting, respond }).await;
    let answer = answer.await.map_err(|_| HandshakeRefusal::BadRequest);
    answer.map(|()| packets(Bytes::from_static(b"ok")))
}

/// Reports to the worker that the client aborted a request, when the request's future is dropped before it has
/// finished.
struct AbortOnDrop(Option<(Workers, Sid)>);

impl AbortOnDrop {
    fn new(state: &HttpState, sid: Sid) -> Self {
        Self(Some((state.workers.clone(), sid)))
    }

    /// The request has finished.
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        // Without a runtime the process is ending.
        if let Some((workers, sid)) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                workers.send(sid.worker.into(), WorkerCommand::Aborted { sid }).await;
            });
        }
    }
}

/// Reads a body of at most `limit` bytes into one buffer. A list of many small chunks would take a multiple of
/// their bytes.
async fn read_body(body: Body, limit: usize) -> Result<String, HandshakeRefusal> {
    if body.size_hint().lower() > (limit + DISCARDED) as u64 {
        return Err(HandshakeRefusal::TooLarge);
    }
    let (mut chunks, mut text, mut size) = (body.into_data_stream(), Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| HandshakeRefusal::Aborted)?;
        size += chunk.len();
        if size <= limit {
            text.extend_from_slice(&chunk);
        } else if size > limit + DISCARDED {
            return Err(HandshakeRefusal::TooLarge);
        }
    }
    if size > limit {
        return Err(HandshakeRefusal::TooLarge);
    }
    String::from_utf8(text).map_err(|_| HandshakeRefusal::BadRequest)
}

/// A response with packets, which must not be cached.
fn packets(body: Bytes) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    ([(header::CACHE_CONTROL, no_store), (header::CONTENT_TYPE, text)], body).into_response()
}

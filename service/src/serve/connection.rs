//! The connections of a server: their limits and timeouts.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{ConnectInfo, Request},
    http::{HeaderMap, HeaderName, StatusCode, Version, header},
    response::{IntoResponse as _, Response},
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::limits::Limits;
use crate::{
    admission::{Admission, Admitted, Owner},
    client,
};

/// Timeout of the first request with all its headers.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// Idle timeout. Longer than the idle timeout of load balancers (60 s on AWS): otherwise a balancer could send
/// a request on a connection that is just being closed.
const IDLE_AT_MOST: Duration = Duration::from_secs(75);
/// Time for running responses after the idle timeout, when no more requests are accepted. A response that its
/// client does not read takes memory.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Bytes of a request's line and headers. Tokens and cookies need a fraction of it.
const HEAD_BYTES: usize = 32 * 1024;

/// The connections of one server.
#[derive(Clone)]
pub(super) struct Connections {
    builder: Builder<TokioExecutor>,
    router: Router,
    limits: Limits,
    open: Admission,
}

impl Connections {
    pub(super) fn new(router: Router, limits: Limits) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_AT_MOST)
            .max_buf_size(HEAD_BYTES);
        builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES as u32);
        Self { builder, router, limits, open: Admission::default() }
    }

    /// Counts a new connection of `peer`. `None` if its address has too many. Behind a proxy, requests are counted
    /// instead.
    pub(super) fn admit(&self, peer: SocketAddr) -> Option<Option<Admitted>> {
        if self.limits.trusted_hops > 0 {
            return Some(None);
        }
        self.open.admit(Owner::address(peer.ip()), self.limits.per_address).map(Some)
    }

    /// Serves one connection until it ends. After `shutdown`, serves only requests that were received before.
    pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: S,
        peer: SocketAddr,
        shutdown: CancellationToken,
    ) {
        let asked = Arc::new(Notify::new());
        let hang_up = HangUp(CancellationToken::new());
        let (builder, seen, hung_up) = (self.builder.clone(), asked.clone(), hang_up.0.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            seen.notify_one();
            request.extensions_mut().insert(ConnectInfo(peer));
            if request.version() < Version::HTTP_2 {
                request.extensions_mut().insert(hang_up.clone());
            }
            self.clone().answer(request, peer)
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut deadline = Instant::now() + FIRST_REQUEST_WITHIN;
        let mut state = Waiting::FirstRequest;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        metrics::counter!("chat_http_connections_broken_total").increment(1);
                        tracing::debug!(%error, "a connection failed");
                    }
                    return;
                }
                () = hung_up.cancelled() => {
                    metrics::counter!("chat_http_connections_timed_out_total").increment(1);
                    tracing::debug!("closed a connection whose client does not read the response");
                    return;
                }
                () = asked.notified(), if state != Waiting::LastAnswers => {
                    (state, deadline) = (Waiting::NextRequest, Instant::now() + IDLE_AT_MOST);
                }
                () = shutdown.cancelled(), if state != Waiting::LastAnswers => {
                    connection.as_mut().graceful_shutdown();
                    state = Waiting::LastAnswers;
                    deadline = Instant::now() + LAST_ANSWERS_WITHIN;
                }
                () = sleep_until(deadline) => {
                    if state != Waiting::NextRequest {
                        metrics::counter!("chat_http_connections_timed_out_total").increment(1);
                        tracing::debug!(?state, "closed a connection that timed out");
                        return;
                    }
                    connection.as_mut().graceful_shutdown();
                    state = Waiting::LastAnswers;
                    deadline = Instant::now() + LAST_ANSWERS_WITHIN;
                }
            }
        }
    }

    async fn answer(
        self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response, std::convert::Infallible> {
        let Ok(admitted) = self.admit_request(request.headers(), peer) else {
            metrics::counter!("chat_http_requests_refused_total").increment(1);
            return Ok(too_many());
        };
        let response = self.router.oneshot(request.map(Body::new)).await?;
        Ok(match admitted {
            Some(admitted) => response.map(|body| Body::new(Counted { body, _admitted: admitted })),
            None => response,
        })
    }

    fn admit_request(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Option<Admitted>, ()> {
        let Limits { trusted_hops, per_address, .. } = self.limits;
        if trusted_hops == 0 {
            return Ok(None);
        }
        let address = client::address(headers, peer, trusted_hops);
        self.open.admit(Owner::address(address), per_address).map(Some).ok_or(())
    }
}

/// A handle with which a handler closes the connection of a client that does not read the response, because
/// hyper does not poll the response's body then. It is an extension of HTTP/1 requests only: an HTTP/2
/// connection carries other responses too.
#[derive(Debug, Clone)]
pub struct HangUp(CancellationToken);

impl HangUp {
    pub fn now(&self) {
        self.0.cancel();
    }
}

/// The event that a connection's deadline applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    FirstRequest,
    NextRequest,
    LastAnswers,
}

/// A problem document (RFC 9457). Built here, because the request does not reach the router.
fn too_many() -> Response {
    let problem = serde_json::json!({
        "type": "about:blank",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "too many requests from your address are running; wait for their responses",
        "code": "too-many-connections",
    });
    let headers = [
        (header::CONTENT_TYPE, "application/problem+json".to_owned()),
        (header::RETRY_AFTER, "1".to_owned()),
        (HeaderName::from_static("x-request-id"), format!("{:032x}", rand::random::<u128>())),
    ];
    (StatusCode::TOO_MANY_REQUESTS, headers, problem.to_string()).into_response()
}

/// The body of a response. The request counts as running until it is sent or dropped.
struct Counted {
    body: Body,
    _admitted: Admitted,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(ready!(Pin::new(&mut self.body).poll_frame(context)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    const PEER: ([u8; 4], u16) = ([192, 0, 2, 1], 80);
    /// RFC 9113: the preface, an empty SETTINGS, and on stream 1 `GET http /`, which ends the stream.
    const HTTP2_REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
        \0\0\0\x04\0\0\0\0\0\
        \0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84";
    const DATA: u8 = 0;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const ACK: u8 = 1;

    /// The client's end of a connection whose responses have `size` bytes, and how long it lasted.
    fn connect(size: usize) -> (DuplexStream, tokio::task::JoinHandle<Duration>) {
        let router = Router::new().route("/", get(move || async move { vec![b'x'; size] }));
        let connections = Connections::new(router, Limits::default());
        let (client, server) = tokio::io::duplex(64 * 1024);
        let began = Instant::now();
        let ended = tokio::spawn(async move {
            connections.serve(server, PEER.into(), CancellationToken::new()).await;
            began.elapsed()
        });
        (client, ended)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_closed() {
        let (_client, ended) = connect(0);
        let lasted = ended.await.unwrap();
        assert!(lasted >= FIRST_REQUEST_WITHIN && lasted < IDLE_AT_MOST, "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_ends_when_no_more_requests_come() {
        let (mut client, ended) = connect(2);
        client.write_all(HTTP2_REQUEST).await.unwrap();
        let (mut frames, mut head) = (Vec::new(), [0; 9]);
        while client.read_exact(&mut head).await.is_ok() {
            let [a, b, c, kind, flags, ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            client.read_exact(&mut payload).await.unwrap();
            if (kind, flags) == (PING, 0) {
                head[4] = ACK;
                client.write_all(&[&head, payload.as_slice()].concat()).await.unwrap();
            }
            frames.push(kind);
        }
        assert!(frames.contains(&DATA), "the answer arrives: {frames:?}");
        assert!(frames.contains(&GOAWAY), "{frames:?}");
        let lasted = ended.await.unwrap();
        assert!(lasted >= IDLE_AT_MOST && lasted < LAST_ANSWERS_WITHIN, "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_response_is_dropped() {
        for request in [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".as_slice(), HTTP2_REQUEST] {
            let (mut client, ended) = connect(8 * 1024 * 1024);
            client.write_all(request).await.unwrap();
            let lasted = ended.await.unwrap();
            assert!(lasted >= LAST_ANSWERS_WITHIN, "{lasted:?}");
        }
    }
}

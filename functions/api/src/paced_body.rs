//! Large response bodies with backpressure and time limits.
//!
//! A separate task produces the body and sends it in small pieces through a channel of capacity one. If the client
//! reads nothing for too long, or the whole body takes too long, the task ends and drops its resources: rows that are
//! not written yet, the slot of a running export. The connection is then closed, because a truncated body must not look
//! complete. With HTTP/2 only the stream is reset, when the client reads again.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{FromRequestParts, Request, State},
    http::{header, request::Parts},
    middleware::Next,
    response::Response,
};
use service::serve::HangUp;
use tokio::{sync::mpsc, time::timeout};

use crate::{site::Pace, state::AppState};

/// Small compared with a socket's buffer, large compared with the cost of passing a piece on.
pub const PIECE_BYTES: usize = 16 * 1024;
/// Larger bodies are paced: pages of history and of lists. Smaller ones fit into the socket's buffer.
const PACED_FROM_BYTES: u64 = 64 * 1024;

/// The client that reads a body.
#[derive(Debug, Clone)]
pub struct Reader {
    pace: Pace,
    /// `None` if the process does not own the connection: on AWS Lambda and in tests.
    hang_up: Option<HangUp>,
}

impl FromRequestParts<AppState> for Reader {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self { pace: state.config.site.pace, hang_up: parts.extensions.get().cloned() })
    }
}

/// Why a body was truncated.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    #[error("the client closed the connection")]
    Closed,
    #[error("the client read nothing for too long")]
    Stalled,
    #[error("the client took too long to read the whole body")]
    TooSlow,
    #[error("{0}")]
    Failed(String),
}

enum Part {
    Piece(Bytes),
    /// Marks a complete body.
    End,
}

/// The sending side of a body.
pub struct Writer {
    parts: mpsc::Sender<Part>,
    stall: Duration,
}

impl Writer {
    /// Waits until the client has read all but the last piece.
    pub async fn write(&self, mut bytes: Bytes) -> Result<(), Cut> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            self.send(Part::Piece(piece)).await?;
        }
        Ok(())
    }

    async fn send(&self, part: Part) -> Result<(), Cut> {
        let sent = timeout(self.stall, self.parts.send(part)).await;
        sent.map_err(|_| Cut::Stalled)?.map_err(|_| Cut::Closed)
    }
}

/// A body that `write` produces. Everything that `write` owns is dropped when the body ends or is truncated.
pub fn body<F>(reader: Reader, write: impl FnOnce(Writer) -> F + Send + 'static) -> Body
where
    F: Future<Output = Result<Writer, Cut>> + Send + 'static,
{
    let (parts, mut written) = mpsc::channel(1);
    let Reader { pace, hang_up } = reader;
    tokio::spawn(async move {
        let whole = async {
            let writer = write(Writer { parts, stall: pace.stall }).await?;
            writer.send(Part::End).await
        };
        let ended = timeout(pace.total, whole).await.unwrap_or(Err(Cut::TooSlow));
        let reason = match ended {
            Ok(()) | Err(Cut::Closed) => return,
            Err(Cut::Stalled) => "stalled",
            Err(Cut::TooSlow) => "too slow",
            Err(Cut::Failed(error)) => {
                tracing::warn!(error, "a response body was truncated");
                "failed"
            }
        };
        metrics::counter!("chat_http_responses_aborted_total", "reason" => reason).increment(1);
        if let Some(hang_up) = hang_up {
            hang_up.now();
        }
    });
    Body::from_stream(futures_util::stream::poll_fn(move |context| {
        written.poll_recv(context).map(|part| match part {
            Some(Part::Piece(piece)) => Some(Ok(piece)),
            Some(Part::End) => None,
            None => Some(Err(io::Error::other("the response body was truncated"))),
        })
    }))
}

/// Middleware that paces large bodies which handlers return in one piece.
pub async fn pace_large(State(pace): State<Pace>, request: Request, next: Next) -> Response {
    let reader = Reader { pace, hang_up: request.extensions().get().cloned() };
    let response = next.run(request).await;
    let size = response.body().size_hint().exact();
    let Some(size) = size.filter(|size| *size > PACED_FROM_BYTES) else { return response };
    let (mut head, whole) = response.into_parts();
    // A stream has no size, so hyper would send it chunked.
    head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| size.into());
    let paced = body(reader, async move |writer: Writer| {
        let whole = axum::body::to_bytes(whole, usize::MAX).await;
        let whole = whole.map_err(|error| Cut::Failed(error.to_string()))?;
        writer.write(whole).await?;
        Ok(writer)
    });
    Response::from_parts(head, paced)
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware, routing};
    use futures_util::StreamExt as _;
    use tower::ServiceExt as _;

    use super::*;

    const QUICK: Pace = Pace { stall: Duration::from_secs(60), total: Duration::from_secs(600) };

    fn endless(pace: Pace, held: mpsc::Sender<()>) -> Body {
        body(Reader { pace, hang_up: None }, async move |writer: Writer| {
            loop {
                writer.write(Bytes::from_static(&[b'x'; PIECE_BYTES])).await?;
                if held.is_closed() {
                    return Ok(writer);
                }
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_is_truncated_and_its_resources_are_freed() {
        let (held, mut freed) = mpsc::channel(1);
        let mut stream = endless(QUICK, held).into_data_stream();
        stream.next().await.unwrap().unwrap();
        // The writer waits for the client, which reads nothing.
        assert_eq!(freed.recv().await, None);
        let mut last = stream.next().await;
        while let Some(Ok(_)) = last {
            last = stream.next().await;
        }
        assert!(matches!(last, Some(Err(_))), "a truncated body must not look complete");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_has_the_total_time() {
        let (held, _freed) = mpsc::channel(1);
        let mut stream = endless(QUICK, held).into_data_stream();
        let mut pieces = 0;
        while let Some(Ok(_)) = stream.next().await {
            pieces += 1;
            tokio::time::sleep(QUICK.stall / 2).await;
        }
        assert!((20..=23).contains(&pieces), "{pieces}");
    }

    #[tokio::test]
    async fn pacing_keeps_the_content_of_a_large_body() {
        let large: String = (0..40_000).map(|n| format!("{n},")).collect();
        let (small, copy) = ("small", large.clone());
        let router = Router::new()
            .route("/large", routing::get(move || std::future::ready(copy.clone())))
            .route("/small", routing::get(move || std::future::ready(small)))
            .layer(middleware::from_fn_with_state(QUICK, pace_large));
        for (path, expected) in [("/large", large.as_str()), ("/small", small)] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let length = response.headers().get(header::CONTENT_LENGTH).cloned();
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(body, expected);
            assert_eq!(length.unwrap(), expected.len().to_string().as_str());
        }
    }
}

//! Holds back a socket's reader while an earlier event of the socket is not finished.

use std::time::Duration;

use tokio::sync::oneshot;

/// A socket over its rate limit is not read from for this long, so that refusing its events costs other
/// sockets nothing.
const THROTTLE: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug, Default)]
pub struct Gate {
    /// Joins without an answer yet. One at a time, so that at most one replay waits for the socket.
    joining: usize,
    /// An event waits until the public key of its token was fetched; later ones must not overtake it.
    awaits_key: bool,
    /// Wakes the reader.
    paused: Option<oneshot::Sender<()>>,
}

impl Gate {
    /// A room was asked to accept the socket.
    pub fn begin_join(&mut self) {
        self.joining += 1;
    }

    /// The room answered.
    pub fn end_join(&mut self) {
        self.joining = self.joining.saturating_sub(1);
    }

    /// A public key is being fetched, or no longer.
    pub fn await_key(&mut self, awaits_key: bool) {
        self.awaits_key = awaits_key;
    }

    /// Whether the reader has to wait.
    pub fn is_closed(&self) -> bool {
        self.joining > 0 || self.awaits_key
    }

    /// A pause until [`Self::resume`].
    pub fn wait(&mut self) -> Pause {
        let (resume, resumed) = oneshot::channel();
        self.paused = Some(resume);
        Pause::Until(resumed)
    }

    /// Wakes the reader.
    pub fn resume(&mut self) {
        if let Some(reader) = self.paused.take() {
            // The reader may be gone.
            let _ = reader.send(());
        }
    }
}

/// What to wait for before reading from a socket again.
pub enum Pause {
    /// The socket is over a rate limit.
    Throttled,
    /// Until the socket has taken more of its answers.
    Until(oneshot::Receiver<()>),
}

impl Pause {
    /// Waits. An error means that the socket is gone.
    pub async fn over(self) -> Result<(), oneshot::error::RecvError> {
        match self {
            Self::Throttled => {
                tokio::time::sleep(THROTTLE).await;
                Ok(())
            }
            Self::Until(resumed) => resumed.await,
        }
    }
}

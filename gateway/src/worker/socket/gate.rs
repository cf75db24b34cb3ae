//! A gate that stops the reading of a socket while an earlier event of the socket is not finished.

use std::time::Duration;

use tokio::sync::oneshot;

/// How long a socket over its rate limit is not read from, so that refusing its events does not slow down other
/// sockets.
const THROTTLE: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug, Default)]
pub struct Gate {
    /// Number of unanswered joins. Reading stops after the first, so that at most one replay waits for the
    /// socket.
    joining: usize,
    /// An event waits for the public key of its token to be fetched. Later events must not overtake it.
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

    /// Sets whether an event waits for a public key.
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

/// A condition to wait for before reading from a socket again.
pub enum Pause {
    /// The socket is over a rate limit.
    Throttled,
    /// Until [`Gate::resume`], which is called when the socket was flushed.
    Until(oneshot::Receiver<()>),
}

impl Pause {
    /// Waits for the condition. An error means that the socket was removed.
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

//! Checks of idle connections before they are used again. A connection that the network dropped silently, for instance
//! while a Lambda function was frozen, must not delay a request for long.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::Connection;

/// How long an idle connection is used without a ping, which costs as much as a statement. The pool pings each
/// connection that is returned.
const ASSUMED_ALIVE_FOR: Duration = Duration::from_secs(1);
/// Time limit of a ping.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// Shared by all connections of a pool.
#[derive(Debug, Clone, Default)]
pub struct IdleCheck(Arc<Mutex<Distrusted>>);

#[derive(Debug, Default)]
struct Distrusted {
    /// Connections that are idle since before this time are pinged.
    pinged: Option<Instant>,
    /// Connections that are idle since before this time are closed without a ping: another ping failed then.
    closed: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Use,
    Ping,
    Close,
}

impl IdleCheck {
    /// Has every connection that is idle now pinged before its next use.
    pub fn distrust_idle(&self) {
        self.distrusted().pinged = Some(Instant::now());
    }

    fn distrusted(&self) -> std::sync::MutexGuard<'_, Distrusted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, idle_for: Duration) -> Verdict {
        let now = Instant::now();
        let was_idle_at = |at: Option<Instant>| at.is_some_and(|at| idle_for > now - at);
        let distrusted = self.distrusted();
        if was_idle_at(distrusted.closed) {
            Verdict::Close
        } else if idle_for > ASSUMED_ALIVE_FOR || was_idle_at(distrusted.pinged) {
            Verdict::Ping
        } else {
            Verdict::Use
        }
    }

    /// For `before_acquire` of a pool. An error closes the connection, and the pool opens another one.
    pub async fn check(
        &self,
        connection: &mut impl Connection,
        idle_for: Duration,
    ) -> sqlx::Result<bool> {
        match self.judge(idle_for) {
            Verdict::Use => return Ok(true),
            Verdict::Ping => {}
            Verdict::Close => return Err(timed_out()),
        }
        let pinged = tokio::time::timeout(PING_TIMEOUT, connection.ping()).await;
        if pinged.is_err() {
            self.distrusted().closed = Some(Instant::now());
        }
        pinged.unwrap_or_else(|_| Err(timed_out()))?;
        Ok(true)
    }
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_pinged_after_a_pause_or_when_they_are_distrusted() {
        let check = IdleCheck::default();
        let briefly = Duration::from_millis(200);
        assert_eq!(check.judge(briefly), Verdict::Use);
        assert_eq!(check.judge(ASSUMED_ALIVE_FOR * 2), Verdict::Ping);
        check.distrust_idle();
        assert_eq!(check.judge(briefly), Verdict::Ping, "it was idle before");
        assert_eq!(check.judge(Duration::ZERO), Verdict::Use, "it was used since");
        check.distrusted().closed = Some(Instant::now());
        assert_eq!(check.judge(briefly), Verdict::Close);
        assert_eq!(check.judge(Duration::ZERO), Verdict::Use);
    }
}

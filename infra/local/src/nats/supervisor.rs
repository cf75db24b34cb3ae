//! Starts the server again when it exits. Its clients reconnect to the same port by themselves, and what it has
//! acknowledged is in its files, so an exit costs a pause only.

use std::{
    convert::Infallible,
    process::ExitStatus,
    time::{Duration, Instant},
};

use super::Nats;

const CHECK_INTERVAL: Duration = Duration::from_millis(100);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(30);
/// A server that has run for this long was healthy: the next restart has the first delay again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Restarts the server whenever it exits, without a limit of attempts: a cause such as a full disk may end at any time,
/// and until then `/readyz` reports that NATS is away.
pub async fn keep_running(nats: &mut Nats) -> Infallible {
    let mut backoff = Backoff::default();
    let mut started = Instant::now();
    loop {
        let status = exited(nats).await;
        let delay = backoff.next(started.elapsed());
        metrics::counter!("chat_nats_server_restarts_total").increment(1);
        tracing::error!(%status, ?delay, "nats-server exited; it is started again after the delay");
        tokio::time::sleep(delay).await;
        started = Instant::now();
        match nats.restart().await {
            Ok(()) => tracing::warn!(pid = nats.id(), "nats-server runs again"),
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                log = %nats.launch.log().display(),
                "cannot start nats-server"
            ),
        }
    }
}

async fn exited(nats: &mut Nats) -> ExitStatus {
    loop {
        if let Some(status) = nats.exit_status() {
            return status;
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

/// The delay before a restart: doubled from each one to the next.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_DELAY)
    }
}

impl Backoff {
    /// The delay before the restart of a server that ran for this long.
    fn next(&mut self, ran_for: Duration) -> Duration {
        if ran_for >= HEALTHY_AFTER {
            *self = Self::default();
        }
        let delay = self.0;
        self.0 = (delay * 2).min(MAX_DELAY);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_to_its_bound_and_is_reset_by_a_healthy_time() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> = (0..12).map(|_| backoff.next(Duration::ZERO).as_millis()).collect();
        assert_eq!(
            delays,
            [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]
        );
        assert_eq!(backoff.next(HEALTHY_AFTER), FIRST_DELAY);
        assert_eq!(backoff.next(Duration::ZERO), FIRST_DELAY * 2);
    }
}

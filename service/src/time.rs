//! Waiting for a point in time.

use tokio::time::Instant;

/// Sleeps until `deadline`. Without one it never completes, which disables a branch of `select!`.
pub async fn sleep_until(deadline: Option<impl Into<Instant>>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sleep_until_waits_for_the_deadline_or_for_ever() {
        let hour = Duration::from_secs(3600);
        let in_a_second = Instant::now() + Duration::from_secs(1);
        sleep_until(Some(in_a_second)).await;
        assert_eq!(Instant::now(), in_a_second);
        assert!(timeout(hour, sleep_until(None::<Instant>)).await.is_err());
    }
}

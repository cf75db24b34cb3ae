//! Waiting for a condition with a deadline.

use std::time::Duration;

/// How long a test waits for anything that should happen at once.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The pause between two checks of a condition that no event announces.
pub const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Asks until there is an answer. Panics with `what` at the deadline.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

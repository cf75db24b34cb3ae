//! The test harness. Every test gets its own [`System`] of real services, on ports that the operating
//! system assigns and in a temporary folder. Everything is stopped and removed when the test ends.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot continue fails"
)]

mod api_client;
pub mod engine_io;
mod lambda_runtime;
mod postgres;
mod process;
mod query_plans;
mod socket_io;
mod statements;
mod system;
mod tcp_proxy;

pub use api_client::{Answer, PASSWORD, User};
pub use engine_io::{PollingSession, WebSocket};
pub use lambda_runtime::RuntimeApi;
pub use process::{
    Server, binary, free_address, signal, start_local, start_local_at, start_local_with,
};
pub use query_plans::{PlanFault, QueryPlans};
pub use socket_io::{Closed, Socket};
pub use statements::{Insert, Statements, placeholders};
pub use system::{Database, Gateway, System};
pub use tcp_proxy::TcpProxy;

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

/// Makes two tests of each story: one on SQLite and one on PostgreSQL.
#[macro_export]
macro_rules! stories {
    ($($(#[$doc:meta])* async fn $name:ident($system:ident: System) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                async fn story($system: System) $body

                $(#[$doc])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite() {
                    story(System::new($crate::Database::Sqlite).await).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_postgres() {
                    story(System::new($crate::Database::Postgres).await).await;
                }
            }
        )*
    };
}

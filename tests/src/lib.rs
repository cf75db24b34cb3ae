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
mod nats_cluster;
mod otlp;
mod postgres;
mod process;
mod query_plans;
mod socket_io;
mod statements;
mod system;
mod tcp_proxy;
mod wait;

pub use api_client::{Answer, Api, PASSWORD, User};
pub use engine_io::{PollingSession, WebSocket};
pub use lambda_runtime::RuntimeApi;
pub use nats_cluster::NatsCluster;
pub use otlp::{OtlpReceiver, ReceivedSpan};
pub use process::{
    Server, binary, free_address, signal, start_local, start_local_at, start_local_with,
};
pub use query_plans::{PlanFault, QueryPlans};
pub use socket_io::{Closed, Socket};
pub use statements::{Insert, Statements, placeholders};
pub use system::{Database, Gateway, System};
pub use tcp_proxy::TcpProxy;
pub use wait::{DEADLINE, POLL_INTERVAL, eventually};

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

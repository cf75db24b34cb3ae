//! Metrics of the connection pool.

use std::time::Instant;

use sqlx::{Pool, pool::PoolConnection};

/// Takes a connection from the pool, and records the time that it took.
pub async fn acquire<DB: sqlx::Database>(pool: &Pool<DB>) -> sqlx::Result<PoolConnection<DB>> {
    let started = Instant::now();
    let acquired = pool.acquire().await;
    metrics::histogram!("chat_database_acquire_seconds").record(started.elapsed());
    acquired
}

/// Sets the gauges of a pool.
pub fn report<DB: sqlx::Database>(pool: &Pool<DB>) {
    let (open, idle) = (pool.size() as usize, pool.num_idle());
    let used = open.saturating_sub(idle);
    metrics::gauge!("chat_database_connections", "state" => "idle").set(idle as f64);
    metrics::gauge!("chat_database_connections", "state" => "used").set(used as f64);
    let max = pool.options().get_max_connections();
    metrics::gauge!("chat_database_connections_max").set(f64::from(max));
}

//! The layer over the two databases: an enum of the two native pools, and macros that run the same query on either.
//! Every statement is written once, in the dialect that both accept.

mod connect;
mod errors;
mod idle_check;
mod migrations;
mod pool_metrics;
mod run;
mod schema_version;
mod session;
mod statement_cancellation;

use std::time::Duration;

use protocol::{Role, Seq, role::ParseRoleError};
use sqlx::{Postgres, Sqlite};

pub use self::{
    errors::{UniqueConstraint, is_refused, is_timeout, is_unavailable},
    migrations::{indexes_all_scripts, migrate},
    run::Affected,
    schema_version::{SchemaError, check_schema, refuse_other_schema},
    statement_cancellation::{HeldConnection, LimitedPool, WatchedTransaction},
};
pub use crate::{on_db, on_held, on_tx};

/// How often [`Database::settled`] looks at the pool, which has no notification for that.
const SETTLE_POLL: Duration = Duration::from_millis(1);

#[derive(Debug, Clone)]
pub enum Database {
    Postgres(LimitedPool<Postgres>),
    Sqlite(LimitedPool<Sqlite>),
}

/// A transaction. Dropped without [`Tx::commit`], it is rolled back.
pub enum Tx {
    Postgres(WatchedTransaction<Postgres>),
    Sqlite(WatchedTransaction<Sqlite>),
}

/// Converts a column. A value out of a seq's range is a decode error.
pub fn seq(stored: i64) -> sqlx::Result<Seq> {
    Seq::try_from(stored).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Converts a nullable column, see [`seq`].
pub fn optional_seq(stored: Option<i64>) -> sqlx::Result<Option<Seq>> {
    stored.map(seq).transpose()
}

/// Converts a column. An unknown role is a decode error.
pub fn role(stored: &str) -> sqlx::Result<Role> {
    stored.parse().map_err(|error: ParseRoleError| sqlx::Error::Decode(error.into()))
}

impl Database {
    /// Begins a transaction that will write.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        Ok(match self {
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin().await?),
        })
    }

    pub async fn ping(&self) -> sqlx::Result<()> {
        on_db!(self, e => sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(e)).map(drop)
    }

    /// Sets the gauges of the pool.
    pub fn report_pool(&self) {
        match self {
            Self::Postgres(pool) => pool_metrics::report(pool),
            Self::Sqlite(pool) => pool_metrics::report(pool),
        }
    }

    /// Has every connection that is idle now pinged before its next use. For a process that was stopped for a while.
    pub fn distrust_idle_connections(&self) {
        match self {
            Self::Postgres(pool) => pool.idle_check.distrust_idle(),
            Self::Sqlite(pool) => pool.idle_check.distrust_idle(),
        }
    }

    /// Waits until every connection is idle in the pool. A connection that is returned is pinged first.
    pub async fn settled(&self) {
        let is_settled = || match self {
            Self::Postgres(pool) => pool.num_idle() >= pool.size() as usize,
            Self::Sqlite(pool) => pool.num_idle() >= pool.size() as usize,
        };
        while !is_settled() {
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite(pool) => pool.close().await,
        }
    }
}

impl Tx {
    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Postgres(transaction) => transaction.commit().await,
            Self::Sqlite(transaction) => transaction.commit().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_an_error_and_not_a_missing_value() {
        assert_eq!(optional_seq(None).unwrap(), None);
        assert_eq!(optional_seq(Some(7)).unwrap(), Some(7.into()));
        assert!(optional_seq(Some(-1)).is_err());
    }
}

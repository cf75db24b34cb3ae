//! Cancels the statements of dropped futures. A handler may be dropped at any moment, because its client
//! disconnected or its deadline passed. Its statement must end too: the pool gets the connection back only then, so a
//! few abandoned searches would block all requests.
//!
//! PostgreSQL: the connection is closed. The server checks for that during the statement
//! (`client_connection_check_interval`) and cancels it. SQLite: the progress handler interrupts the statement. A
//! statement in a PostgreSQL transaction is limited by `statement_timeout` only, because its connection cannot be
//! taken out of sqlx's [`Transaction`].

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Pool, Postgres, Sqlite, Transaction, pool::PoolConnection};

use super::pool_metrics::acquire;

/// SQLite calls the progress handler after so many instructions of its virtual machine, about every 100 µs.
const PROGRESS_OPS: i32 = 10_000;

/// A pool with the time limit of its statements.
#[derive(Debug)]
pub struct LimitedPool<DB: sqlx::Database> {
    pub(super) pool: Pool<DB>,
    pub(super) statement: Option<Duration>,
}

impl<DB: sqlx::Database> Clone for LimitedPool<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), statement: self.statement }
    }
}

impl<DB: sqlx::Database> Deref for LimitedPool<DB> {
    type Target = Pool<DB>;
    fn deref(&self) -> &Pool<DB> {
        &self.pool
    }
}

/// The state of a connection's statement, shared with the thread that executes it.
#[derive(Debug, Default)]
struct Statement {
    is_running: AtomicBool,
    is_abandoned: AtomicBool,
    deadline: Mutex<Option<Instant>>,
}

impl Statement {
    fn start(&self, within: Option<Duration>) {
        let deadline = within.map(|within| Instant::now() + within);
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        self.is_running.store(true, Ordering::Release);
    }

    fn end(&self) {
        self.is_running.store(false, Ordering::Release);
    }

    /// Called when the waiting future is dropped. Returns whether a statement is running.
    fn abandon(&self) -> bool {
        let is_running = self.is_running.load(Ordering::Acquire);
        self.is_abandoned.store(is_running, Ordering::Release);
        is_running
    }

    fn may_continue(&self) -> bool {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_abandoned.load(Ordering::Acquire)
            && deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}

/// A connection for one statement. Dropped between [`HeldConnection::start`] and [`HeldConnection::end`],
/// the statement is cancelled.
pub struct HeldConnection<DB: sqlx::Database> {
    connection: PoolConnection<DB>,
    statement: Arc<Statement>,
    within: Option<Duration>,
    /// PostgreSQL only: closing the connection cancels the statement.
    closes_on_drop: bool,
}

impl HeldConnection<Postgres> {
    pub async fn postgres(pool: &LimitedPool<Postgres>) -> sqlx::Result<Self> {
        let (connection, statement) = (acquire(pool).await?, Arc::default());
        Ok(Self { connection, statement, within: None, closes_on_drop: true })
    }
}

impl HeldConnection<Sqlite> {
    pub async fn sqlite(pool: &LimitedPool<Sqlite>) -> sqlx::Result<Self> {
        let (connection, statement) = watched(pool).await?;
        Ok(Self { connection, statement, within: pool.statement, closes_on_drop: false })
    }
}

impl<DB: sqlx::Database> HeldConnection<DB> {
    pub fn start(&mut self) -> &mut DB::Connection {
        self.statement.start(self.within);
        &mut self.connection
    }

    pub fn end(self) {
        self.statement.end();
    }
}

impl<DB: sqlx::Database> Drop for HeldConnection<DB> {
    fn drop(&mut self) {
        if self.statement.abandon() && self.closes_on_drop {
            self.connection.close_on_drop();
        }
    }
}

/// A transaction whose statements are watched like those of [`HeldConnection`].
pub struct WatchedTransaction<DB: sqlx::Database> {
    // Dropped before the transaction, whose rollback waits for the statement.
    abandon_on_drop: AbandonOnDrop,
    transaction: Transaction<'static, DB>,
    within: Option<Duration>,
}

struct AbandonOnDrop(Arc<Statement>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl<DB: sqlx::Database> WatchedTransaction<DB> {
    pub fn start(&mut self) {
        self.abandon_on_drop.0.start(self.within);
    }

    pub fn end(&mut self) {
        self.abandon_on_drop.0.end();
    }

    pub async fn commit(self) -> sqlx::Result<()> {
        self.transaction.commit().await
    }
}

impl<DB: sqlx::Database> Deref for WatchedTransaction<DB> {
    type Target = DB::Connection;
    fn deref(&self) -> &DB::Connection {
        &self.transaction
    }
}

impl<DB: sqlx::Database> DerefMut for WatchedTransaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.transaction
    }
}

impl LimitedPool<Postgres> {
    pub(super) async fn begin(&self) -> sqlx::Result<WatchedTransaction<Postgres>> {
        let transaction = Transaction::begin(acquire(self).await?, None).await?;
        Ok(WatchedTransaction {
            abandon_on_drop: AbandonOnDrop(Arc::default()),
            transaction,
            within: None,
        })
    }
}

impl LimitedPool<Sqlite> {
    /// Takes the write lock at once: a transaction that reads first could only fail when it writes later.
    pub(super) async fn begin(&self) -> sqlx::Result<WatchedTransaction<Sqlite>> {
        let (connection, statement) = watched(self).await?;
        let begin = Some(sqlx::SqlStr::from_static("BEGIN IMMEDIATE"));
        let transaction = Transaction::begin(connection, begin).await?;
        Ok(WatchedTransaction {
            abandon_on_drop: AbandonOnDrop(statement),
            transaction,
            within: self.statement,
        })
    }
}

/// A connection whose statements are interrupted at their deadline or when they are abandoned.
async fn watched(
    pool: &LimitedPool<Sqlite>,
) -> sqlx::Result<(PoolConnection<Sqlite>, Arc<Statement>)> {
    let mut connection = acquire(pool).await?;
    let statement = Arc::<Statement>::default();
    let watch = statement.clone();
    connection
        .lock_handle()
        .await?
        .set_progress_handler(PROGRESS_OPS, move || watch.may_continue());
    Ok((connection, statement))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Database, is_timeout, on_db, on_tx};

    /// A statement without an end and without rows.
    const ENDLESS: &str = "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s)
                           SELECT COUNT(*) FROM s";

    async fn endless(database: &Database) -> sqlx::Result<i64> {
        on_db!(database, e => sqlx::query_scalar(ENDLESS).fetch_one(e))
    }

    #[tokio::test]
    async fn sqlite_ends_a_statement_at_its_deadline() {
        let within = Duration::from_millis(200);
        let database = Database::connect_limited("sqlite::memory:", within).await.unwrap();
        assert!(endless(&database).await.is_err_and(|error| is_timeout(&error)));
        let mut tx = database.begin().await.unwrap();
        let counted = on_tx!(&mut tx, e => sqlx::query_scalar::<_, i64>(ENDLESS).fetch_optional(e));
        assert!(counted.is_err_and(|error| is_timeout(&error)));
        drop(tx);
        database.ping().await.unwrap();
    }

    #[tokio::test]
    async fn sqlite_ends_an_abandoned_statement() {
        let within = Duration::from_secs(3600);
        let database = Database::connect_limited("sqlite::memory:", within).await.unwrap();
        // More than there are connections.
        for _ in 0..6 {
            let reading = tokio::time::timeout(Duration::from_millis(50), endless(&database));
            assert!(reading.await.is_err(), "it has no end");
        }
        let writing = async {
            let mut tx = database.begin().await.unwrap();
            on_tx!(&mut tx, e => sqlx::query_scalar::<_, i64>(ENDLESS).fetch_optional(e))
        };
        assert!(tokio::time::timeout(Duration::from_millis(50), writing).await.is_err());
        database.ping().await.unwrap();
        database.begin().await.unwrap().commit().await.unwrap();
    }

    #[test]
    fn a_statement_ends_at_its_deadline_or_when_it_is_abandoned() {
        let statement = Statement::default();
        statement.start(None);
        assert!(statement.may_continue());
        statement.start(Some(Duration::ZERO));
        assert!(!statement.may_continue());
        statement.start(Some(Duration::from_secs(60)));
        assert!(statement.may_continue());
        statement.end();
        assert!(!statement.abandon(), "nothing runs");
        assert!(statement.may_continue());
        statement.start(None);
        assert!(statement.abandon());
        assert!(!statement.may_continue());
    }
}

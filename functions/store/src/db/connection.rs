//! A connection while a statement runs on it. A handler may be dropped at any moment, because its client
//! disconnected or its deadline passed. The statement must end then too: the pool takes a connection back
//! only after that, so a few abandoned searches would block every request.
//!
//! PostgreSQL: the connection is closed, and the server, which looks for that while it works
//! (`client_connection_check_interval`), cancels the statement. SQLite: its progress handler interrupts
//! the statement. A statement within a transaction of PostgreSQL is bounded by `statement_timeout`
//! alone: its connection cannot be taken out of sqlx's [`Transaction`].

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Pool, Postgres, Sqlite, Transaction, pool::PoolConnection};

/// Instructions of SQLite's virtual machine between two looks at the clock: some 100 µs.
const OPS: i32 = 10_000;

/// A pool, and how long a statement may take on its connections.
#[derive(Debug)]
pub struct Limited<DB: sqlx::Database> {
    pub(super) pool: Pool<DB>,
    pub(super) statement: Option<Duration>,
}

impl<DB: sqlx::Database> Clone for Limited<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), statement: self.statement }
    }
}

impl<DB: sqlx::Database> Deref for Limited<DB> {
    type Target = Pool<DB>;
    fn deref(&self) -> &Pool<DB> {
        &self.pool
    }
}

/// What runs on a connection, as the thread that runs it sees it.
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

    /// Nobody waits for its outcome any more. Returns whether it runs.
    fn abandon(&self) -> bool {
        let is_running = self.is_running.load(Ordering::Acquire);
        self.is_abandoned.store(is_running, Ordering::Release);
        is_running
    }

    fn may_go_on(&self) -> bool {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_abandoned.load(Ordering::Acquire)
            && deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}

/// A connection for one statement. Dropped between [`HeldConnection::start`] and [`HeldConnection::end`],
/// it abandons the statement.
pub struct HeldConnection<DB: sqlx::Database> {
    connection: PoolConnection<DB>,
    statement: Arc<Statement>,
    within: Option<Duration>,
    closes: bool,
}

impl HeldConnection<Postgres> {
    pub async fn postgres(pool: &Limited<Postgres>) -> sqlx::Result<Self> {
        let (connection, statement) = (pool.acquire().await?, Arc::default());
        Ok(Self { connection, statement, within: None, closes: true })
    }
}

impl HeldConnection<Sqlite> {
    pub async fn sqlite(pool: &Limited<Sqlite>) -> sqlx::Result<Self> {
        let (connection, statement) = watched(pool).await?;
        Ok(Self { connection, statement, within: pool.statement, closes: false })
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
        if self.statement.abandon() && self.closes {
            self.connection.close_on_drop();
        }
    }
}

/// A transaction whose statements are watched like those of [`HeldConnection`].
pub struct Watched<DB: sqlx::Database> {
    // Before the transaction is dropped, which waits for the statement to roll back.
    _abandon: Abandon,
    transaction: Transaction<'static, DB>,
    within: Option<Duration>,
}

struct Abandon(Arc<Statement>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl<DB: sqlx::Database> Watched<DB> {
    pub fn start(&mut self) {
        self._abandon.0.start(self.within);
    }

    pub fn end(&mut self) {
        self._abandon.0.end();
    }

    pub async fn commit(self) -> sqlx::Result<()> {
        self.transaction.commit().await
    }
}

impl<DB: sqlx::Database> Deref for Watched<DB> {
    type Target = DB::Connection;
    fn deref(&self) -> &DB::Connection {
        &self.transaction
    }
}

impl<DB: sqlx::Database> DerefMut for Watched<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.transaction
    }
}

impl Limited<Postgres> {
    pub(super) async fn begin(&self) -> sqlx::Result<Watched<Postgres>> {
        let transaction = self.pool.begin().await?;
        Ok(Watched { _abandon: Abandon(Arc::default()), transaction, within: None })
    }
}

impl Limited<Sqlite> {
    /// Takes the lock of the writer at once: a reader that becomes a writer later could only fail.
    pub(super) async fn begin(&self) -> sqlx::Result<Watched<Sqlite>> {
        let (connection, statement) = watched(self).await?;
        let begin = Some(sqlx::SqlStr::from_static("BEGIN IMMEDIATE"));
        let transaction = Transaction::begin(connection, begin).await?;
        Ok(Watched { _abandon: Abandon(statement), transaction, within: self.statement })
    }
}

/// A connection whose statements are interrupted when their time is over, or they are abandoned.
async fn watched(pool: &Limited<Sqlite>) -> sqlx::Result<(PoolConnection<Sqlite>, Arc<Statement>)> {
    let mut connection = pool.acquire().await?;
    let statement = Arc::<Statement>::default();
    let watch = statement.clone();
    connection.lock_handle().await?.set_progress_handler(OPS, move || watch.may_go_on());
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
    async fn sqlite_ends_a_statement_that_nobody_waits_for() {
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
        assert!(statement.may_go_on());
        statement.start(Some(Duration::ZERO));
        assert!(!statement.may_go_on());
        statement.start(Some(Duration::from_secs(60)));
        assert!(statement.may_go_on());
        statement.end();
        assert!(!statement.abandon(), "nothing runs");
        assert!(statement.may_go_on());
        statement.start(None);
        assert!(statement.abandon());
        assert!(!statement.may_go_on());
    }
}

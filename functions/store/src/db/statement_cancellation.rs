//! Cancels the statements of dropped futures. A handler may be dropped at any moment, because its client
//! disconnected or its deadline passed. Its statement must end too: the pool gets the connection back only then, so a
//! few abandoned searches would block all requests.
//!
//! PostgreSQL: the connection is closed. The server checks for that during the statement
//! (`client_connection_check_interval`) and cancels it. SQLite: the progress handler interrupts the statement. A
//! statement in a PostgreSQL transaction is limited by `statement_timeout` only, because its connection cannot be
//! taken out of sqlx's [`Transaction`].
//!
//! Behind a transaction pooler, a statement of [`HeldConnection`] runs in a separate transaction: the pooler keeps one
//! server connection for the whole of it, between the messages of one statement too.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt as _};
use secrecy::ExposeSecret as _;
use service::trace::Span;
use sqlx::{
    AssertSqlSafe, Executor, Pool, Postgres, SqlSafeStr as _, Sqlite, Transaction,
    pool::PoolConnection, postgres::PgConnectOptions,
};

use super::{idle_check::IdleCheck, pool_metrics::acquire};
use crate::aws::RdsToken;

/// SQLite calls the progress handler after so many instructions of its virtual machine, about every 100 µs.
const PROGRESS_OPS: i32 = 10_000;

/// A pool with the time limit of its statements.
#[derive(Debug)]
pub struct LimitedPool<DB: sqlx::Database> {
    pub(super) pool: Pool<DB>,
    pub(super) statement: Option<Duration>,
    /// Behind a transaction pooler: the statement that begins a transaction.
    pub(super) begin: Option<Arc<str>>,
    /// The password of new connections, if it expires.
    pub(super) token: Option<RdsToken>,
    pub(super) idle_check: IdleCheck,
}

impl<DB: sqlx::Database> Clone for LimitedPool<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            statement: self.statement,
            begin: self.begin.clone(),
            token: self.token.clone(),
            idle_check: self.idle_check.clone(),
        }
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
    /// The statement runs in a separate transaction, because of a transaction pooler.
    is_transaction: bool,
    _span: Option<Span>,
}

impl HeldConnection<Postgres> {
    pub async fn postgres(pool: &LimitedPool<Postgres>) -> sqlx::Result<Self> {
        let span = Span::within("statement");
        pool.renew_password().await?;
        let (connection, statement) = (acquire(pool).await?, Arc::default());
        let mut held = Self {
            connection,
            statement,
            within: None,
            closes_on_drop: true,
            is_transaction: pool.begin.is_some(),
            _span: span,
        };
        if let Some(begin) = &pool.begin {
            Box::pin(held.execute(begin.to_string())).await?;
        }
        Ok(held)
    }
}

impl HeldConnection<Sqlite> {
    pub async fn sqlite(pool: &LimitedPool<Sqlite>) -> sqlx::Result<Self> {
        let span = Span::within("statement");
        let (connection, statement) = watched(pool).await?;
        let (within, closes_on_drop, is_transaction) = (pool.statement, false, false);
        Ok(Self { connection, statement, within, closes_on_drop, is_transaction, _span: span })
    }
}

impl<DB: sqlx::Database> HeldConnection<DB> {
    pub fn start(&mut self) -> &mut DB::Connection {
        self.statement.start(self.within);
        &mut self.connection
    }

    /// Ends the statement. If it runs in a separate transaction, returns its end. Boxed, because it is rare, and
    /// its size would be part of every handler's future.
    pub fn end(self, is_done: bool) -> Option<BoxFuture<'static, sqlx::Result<()>>>
    where
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    {
        self.statement.end();
        let end = if is_done { "COMMIT" } else { "ROLLBACK" };
        let is_transaction = self.is_transaction;
        is_transaction.then(|| {
            let mut held = self;
            async move { held.execute(end.to_owned()).await }.boxed()
        })
    }

    /// Executes a statement of this module.
    async fn execute(&mut self, statement: String) -> sqlx::Result<()>
    where
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    {
        self.start().execute(AssertSqlSafe(statement)).await?;
        self.statement.end();
        Ok(())
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
    /// Sets a new password for new connections if the current one expires soon.
    async fn renew_password(&self) -> sqlx::Result<()> {
        let Some(token) = &self.token else { return Ok(()) };
        // No credentials for now: like a database that cannot be reached.
        let renewed = token.renewed().await.map_err(|error| io::Error::other(format!("{error:#}")));
        if let Some(password) = renewed? {
            let options = PgConnectOptions::clone(&self.pool.connect_options());
            self.pool.set_connect_options(options.password(password.expose_secret()));
        }
        Ok(())
    }

    pub(super) async fn begin(&self) -> sqlx::Result<WatchedTransaction<Postgres>> {
        self.renew_password().await?;
        let begin =
            self.begin.as_ref().map(|begin| AssertSqlSafe(begin.to_string()).into_sql_str());
        let transaction = Transaction::begin(acquire(self).await?, begin).await?;
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
    use crate::{
        config::DatabaseConfig,
        db::{Database, is_timeout, on_db, on_tx},
    };

    /// A statement without an end and without rows.
    const ENDLESS: &str = "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s)
                           SELECT COUNT(*) FROM s";

    async fn endless(database: &Database) -> sqlx::Result<i64> {
        on_db!(database, e => sqlx::query_scalar(ENDLESS).fetch_one(e))
    }

    #[tokio::test]
    async fn sqlite_ends_a_statement_at_its_deadline() {
        let within = Duration::from_millis(200);
        let database = Database::open(&DatabaseConfig::of_url("sqlite::memory:"), within).unwrap();
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
        let database = Database::open(&DatabaseConfig::of_url("sqlite::memory:"), within).unwrap();
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

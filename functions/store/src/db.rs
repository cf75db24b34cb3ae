//! The one seam between the two databases: an enum of the two native pools, and macros that expand
//! the same expression for either. Every statement is written once, in the dialect both accept.

mod connection;
mod errors;

use std::{
    fs::OpenOptions, io::ErrorKind, os::unix::fs::OpenOptionsExt as _, path::Path,
    str::FromStr as _, time::Duration,
};

use anyhow::Context as _;
use protocol::{Role, Seq, role::ParseRoleError};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, Postgres, Sqlite,
    pool::PoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

/// How long a request waits for a connection before it answers 503.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(4);
/// How long a connection may lie idle and still be used without asking whether it is alive. The pool
/// asks each one that comes back, and to ask again at once costs as much as a statement.
const ALIVE_FOR: Duration = Duration::from_secs(1);
/// How long a SQLite writer waits for another one.
const BUSY_WITHIN: Duration = Duration::from_secs(4);
/// Connections of one process: functions are many, PostgreSQL's connections are few.
const POSTGRES_CONNECTIONS: u32 = 16;
const SQLITE_CONNECTIONS: u32 = 4;
/// How soon PostgreSQL notices, while it works, that nobody waits for the result any more.
const CHECKED_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Clone)]
pub enum Database {
    Postgres(Limited<Postgres>),
    Sqlite(Limited<Sqlite>),
}

/// A transaction. Dropped without [`Tx::commit`], it is rolled back.
pub enum Tx {
    Postgres(Watched<Postgres>),
    Sqlite(Watched<Sqlite>),
}

/// Runs a query expression on a [`Database`]: `on_db!(db, e => sqlx::query(…).fetch_all(e))`. When the
/// future is dropped before it is done, so is the statement ([`HeldConnection`]).
#[macro_export]
macro_rules! on_db {
    ($database:expr, $executor:ident => $query:expr) => {
        match $database {
            $crate::db::Database::Postgres(pool) => {
                $crate::on_held!($crate::db::HeldConnection::postgres(pool), $executor => $query)
            }
            $crate::db::Database::Sqlite(pool) => {
                $crate::on_held!($crate::db::HeldConnection::sqlite(pool), $executor => $query)
            }
        }
    };
}

/// See [`on_db`].
#[macro_export]
macro_rules! on_held {
    ($held:expr, $executor:ident => $query:expr) => {
        match $held.await {
            Ok(mut held) => {
                let $executor = held.start();
                let done = $query.await;
                held.end();
                done
            }
            Err(error) => Err(error),
        }
    };
}

/// Runs a query expression in a [`Tx`]: `on_tx!(tx, e => sqlx::query(…).execute(e))`.
#[macro_export]
macro_rules! on_tx {
    ($transaction:expr, $executor:ident => $query:expr) => {{
        // A coercion site, so that a `Transaction` is taken as well.
        let tx: &mut $crate::db::Tx = $transaction;
        match tx {
            $crate::db::Tx::Postgres(transaction) => {
                transaction.start();
                let $executor = &mut **transaction;
                let done = $query.await;
                transaction.end();
                done.map(|done| $crate::db::Affected::affected(done))
            }
            $crate::db::Tx::Sqlite(transaction) => {
                transaction.start();
                let $executor = &mut **transaction;
                let done = $query.await;
                transaction.end();
                done.map(|done| $crate::db::Affected::affected(done))
            }
        }
    }};
}

pub use crate::{on_db, on_held, on_tx};
pub use connection::{HeldConnection, Limited, Watched};
pub use errors::{UniqueConstraint, is_refused, is_timeout, is_unavailable};

/// A seq that a statement answered with. A column outside a seq's bounds is an error.
pub fn seq(stored: i64) -> sqlx::Result<Seq> {
    Seq::try_from(stored).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A role that a statement answered with.
pub fn role(stored: &str) -> sqlx::Result<Role> {
    stored.parse().map_err(|error: ParseRoleError| sqlx::Error::Decode(error.into()))
}

/// Makes one type of what either database answers: rows stay rows, a result becomes its count.
pub trait Affected {
    type Same;
    fn affected(self) -> Self::Same;
}

impl Affected for sqlx::postgres::PgQueryResult {
    type Same = u64;
    fn affected(self) -> u64 {
        self.rows_affected()
    }
}

impl Affected for sqlx::sqlite::SqliteQueryResult {
    type Same = u64;
    fn affected(self) -> u64 {
        self.rows_affected()
    }
}

impl<T> Affected for Option<T> {
    type Same = Self;
    fn affected(self) -> Self {
        self
    }
}

impl<T> Affected for Vec<T> {
    type Same = Self;
    fn affected(self) -> Self {
        self
    }
}

impl Database {
    /// Connects to `postgres://…` or `sqlite://path`; a SQLite file is created if it is not there.
    /// Statements take as long as they do: for migrations and tests.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        Self::open(url, None).await
    }

    /// The same, where no statement may take longer than `statement`.
    pub async fn connect_limited(url: &str, statement: Duration) -> anyhow::Result<Self> {
        Self::open(url, Some(statement)).await
    }

    async fn open(url: &str, statement: Option<Duration>) -> anyhow::Result<Self> {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)
                .context("DATABASE_URL is not a SQLite URL")?
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // A commit is on disk when it returns. The archive acknowledges to JetStream what it has
                // committed, and JetStream does not send that again after a power cut.
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                // As PostgreSQL does it.
                .pragma("case_sensitive_like", "ON")
                .busy_timeout(BUSY_WITHIN);
            create_private(options.get_filename())?;
            let pool = pool(SQLITE_CONNECTIONS)
                .connect_with(options)
                .await
                .context("cannot open the SQLite database")?;
            return Ok(Self::Sqlite(Limited { pool, statement }));
        }
        anyhow::ensure!(
            url.starts_with("postgres://") || url.starts_with("postgresql://"),
            "DATABASE_URL must start with postgres:// or sqlite://"
        );
        let pool = pool::<Postgres>(POSTGRES_CONNECTIONS).after_connect(move |connection, _| {
            Box::pin(async move {
                if let Some(statement) = statement {
                    connection.execute(AssertSqlSafe(settings(statement))).await?;
                }
                Ok(())
            })
        });
        let pool = pool.connect(url).await.context("cannot connect to PostgreSQL")?;
        Ok(Self::Postgres(Limited { pool, statement }))
    }

    /// Starts a transaction that will write.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        Ok(match self {
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin().await?),
        })
    }

    pub async fn ping(&self) -> sqlx::Result<()> {
        on_db!(self, e => sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(e)).map(drop)
    }

    /// How many of the connections searches may have: the others are for what must not wait.
    pub fn searches_at_once(&self) -> usize {
        let connections = match self {
            Self::Postgres(_) => POSTGRES_CONNECTIONS,
            Self::Sqlite(_) => SQLITE_CONNECTIONS,
        };
        connections as usize / 2
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite(pool) => pool.close().await,
        }
    }
}

/// Makes the file before SQLite does, which would let everybody read it: it holds messages and password
/// hashes. SQLite gives its journals the rights of the file.
fn create_private(file: &Path) -> anyhow::Result<()> {
    // sqlx's name for a database that is no file.
    if file.to_string_lossy().starts_with("file:sqlx-in-memory") {
        return Ok(());
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot make {}", file.display())),
    }
}

/// What protects PostgreSQL from one connection of ours. A server that is too old for one of the settings
/// does without it.
fn settings(statement: Duration) -> String {
    let [statement, idle, check] =
        [statement, statement * 2, CHECKED_EVERY].map(|setting| setting.as_millis());
    format!(
        "SELECT set_config(s.name, w.value, false) FROM pg_settings s JOIN (VALUES
           ('statement_timeout', '{statement}ms'),
           ('idle_in_transaction_session_timeout', '{idle}ms'),
           ('client_connection_check_interval', '{check}ms')
         ) w (name, value) ON w.name = s.name"
    )
}

fn pool<DB: sqlx::Database>(connections: u32) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_WITHIN)
        .test_before_acquire(false)
        .before_acquire(|connection: &mut DB::Connection, known| {
            Box::pin(async move {
                if known.idle_for > ALIVE_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

impl Tx {
    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Postgres(transaction) => transaction.commit().await,
            Self::Sqlite(transaction) => transaction.commit().await,
        }
    }
}

/// Brings the schema to this version. A release step, run by `provision`, never by a server. Returns
/// how many migrations there were before and are now.
pub async fn migrate(database: &Database) -> anyhow::Result<(i64, i64)> {
    // A new database has no table of migrations yet.
    let before = migrations(database).await.unwrap_or(0);
    match database {
        Database::Postgres(pool) => {
            sqlx::migrate!("../../migrations/postgres").run(&**pool).await?
        }
        Database::Sqlite(pool) => sqlx::migrate!("../../migrations/sqlite").run(&**pool).await?,
    }
    Ok((before, migrations(database).await?))
}

/// Whether the index of parts of words knows letters beyond ASCII. In PostgreSQL's locale `C` there are
/// none: texts of other scripts are found by reading all of a room.
pub async fn indexes_all_scripts(database: &Database) -> sqlx::Result<bool> {
    match database {
        Database::Postgres(pool) => {
            let knows = "SELECT cardinality(show_trgm('한글')) > 0";
            sqlx::query_scalar(knows).fetch_one(&**pool).await
        }
        Database::Sqlite(_) => Ok(true),
    }
}

async fn migrations(database: &Database) -> sqlx::Result<i64> {
    on_db!(database, e => sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations").fetch_one(e))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_sqlite_commit_is_on_disk_and_its_files_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/chat.db", folder.path().display());
        let database = Database::connect(&url).await.unwrap();
        let Database::Sqlite(pool) = &database else { panic!("not SQLite") };
        let synchronous: i32 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&**pool).await.unwrap();
        assert_eq!(synchronous, 2, "FULL");
        sqlx::query("CREATE TABLE made (id INTEGER)").execute(&**pool).await.unwrap();
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert!(files.len() >= 2, "the database and its journal: {files:?}");
        for file in files {
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{file:?}");
        }
    }
}

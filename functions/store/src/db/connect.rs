//! Opens the connection pools and decides their size.

use std::{
    fs::OpenOptions, io::ErrorKind, os::unix::fs::OpenOptionsExt as _, path::Path,
    str::FromStr as _, time::Duration,
};

use anyhow::Context as _;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, Postgres,
    pool::PoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{Database, LimitedPool};

/// How long a request waits for a connection before it is answered with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long an idle connection is used without a ping, which costs as much as a statement. The pool pings each
/// connection that is returned.
const ASSUMED_ALIVE_FOR: Duration = Duration::from_secs(1);
/// How long a SQLite writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);
/// Connections of one process. There are many functions, and PostgreSQL allows few connections.
const POSTGRES_CONNECTIONS: u32 = 16;
const SQLITE_CONNECTIONS: u32 = 4;
/// How often PostgreSQL checks during a statement that its client is still connected.
const CLIENT_CHECKED_EVERY: Duration = Duration::from_millis(500);

impl Database {
    /// Connects to `postgres://…` or `sqlite://path`, without a limit on the time of a statement: for migrations and
    /// tests. A missing SQLite file is created.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        Self::open(url, None).await
    }

    /// [`Self::connect`] with a time limit for each statement.
    pub async fn connect_limited(url: &str, statement: Duration) -> anyhow::Result<Self> {
        Self::open(url, Some(statement)).await
    }

    /// How many connections searches may occupy: half, so that other requests always find one.
    pub fn searches_at_once(&self) -> usize {
        let connections = match self {
            Self::Postgres(_) => POSTGRES_CONNECTIONS,
            Self::Sqlite(_) => SQLITE_CONNECTIONS,
        };
        connections as usize / 2
    }

    async fn open(url: &str, statement: Option<Duration>) -> anyhow::Result<Self> {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)
                .context("DATABASE_URL is not a SQLite URL")?
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // A commit is on disk when it returns. The archive acknowledges committed events to JetStream,
                // which would not deliver them again after a power cut.
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                // LIKE distinguishes case in PostgreSQL too.
                .pragma("case_sensitive_like", "ON")
                .busy_timeout(BUSY_TIMEOUT);
            create_private(options.get_filename())?;
            let pool = pool(SQLITE_CONNECTIONS)
                .connect_with(options)
                .await
                .context("cannot open the SQLite database")?;
            return Ok(Self::Sqlite(LimitedPool { pool, statement }));
        }
        anyhow::ensure!(
            url.starts_with("postgres://") || url.starts_with("postgresql://"),
            "DATABASE_URL must start with postgres:// or sqlite://"
        );
        let pool = pool::<Postgres>(POSTGRES_CONNECTIONS).after_connect(move |connection, _| {
            Box::pin(async move {
                if let Some(statement) = statement {
                    connection.execute(AssertSqlSafe(session_limits(statement))).await?;
                }
                Ok(())
            })
        });
        let pool = pool.connect(url).await.context("cannot connect to PostgreSQL")?;
        Ok(Self::Postgres(LimitedPool { pool, statement }))
    }
}

/// Creates the file with private permissions, because SQLite would make it readable for all users. SQLite gives its
/// journals the permissions of the file.
fn create_private(file: &Path) -> anyhow::Result<()> {
    // sqlx's name for an in-memory database.
    if file.to_string_lossy().starts_with("file:sqlx-in-memory") {
        return Ok(());
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot create {}", file.display())),
    }
}

/// Limits of one PostgreSQL connection. A setting that the server's version does not have is skipped.
fn session_limits(statement: Duration) -> String {
    let [statement, idle, check] =
        [statement, statement * 2, CLIENT_CHECKED_EVERY].map(|setting| setting.as_millis());
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
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection: &mut DB::Connection, known| {
            Box::pin(async move {
                if known.idle_for > ASSUMED_ALIVE_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
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

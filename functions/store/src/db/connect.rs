//! Opens the connection pools and decides their size. A pool connects at its first use, so a process starts while its
//! database is away.

use std::{
    fs::OpenOptions, io::ErrorKind, os::unix::fs::OpenOptionsExt as _, path::Path,
    str::FromStr as _, sync::Arc, time::Duration,
};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sqlx::{
    AssertSqlSafe, Executor as _, Postgres,
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgSslMode},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{Database, LimitedPool, idle_check::IdleCheck, session};
use crate::{aws::RdsToken, config::DatabaseConfig};

/// How long a request waits for a connection before it is answered with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a SQLite writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);
/// Connections of one process. There are many functions, and PostgreSQL allows few connections.
const POSTGRES_CONNECTIONS: u32 = 16;
const SQLITE_CONNECTIONS: u32 = 4;

impl Database {
    /// Connects to `postgres://…` or `sqlite://path` now, without a limit on the time of a statement: for tests. A
    /// missing SQLite file is created.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        Self::connect_to(&DatabaseConfig::of_url(url)).await
    }

    /// Connects now, without a limit on the time of a statement: for migrations.
    pub async fn connect_to(config: &DatabaseConfig) -> anyhow::Result<Self> {
        let database = Self::new(config, None)?;
        database.ping().await.context("cannot connect to the database")?;
        Ok(database)
    }

    /// A pool with a time limit for each statement. It connects at its first use. A missing SQLite file is created.
    pub fn open(config: &DatabaseConfig, statement: Duration) -> anyhow::Result<Self> {
        Self::new(config, Some(statement))
    }

    /// How many connections searches may occupy: half, so that other requests always find one.
    pub fn searches_at_once(&self) -> usize {
        let connections = match self {
            Self::Postgres(pool) => pool.options().get_max_connections(),
            Self::Sqlite(pool) => pool.options().get_max_connections(),
        };
        connections as usize / 2
    }

    fn new(config: &DatabaseConfig, statement: Option<Duration>) -> anyhow::Result<Self> {
        if config.url.expose_secret().starts_with("sqlite:") {
            return Ok(Self::Sqlite(sqlite(config, statement)?));
        }
        Ok(Self::Postgres(postgres(config, statement)?))
    }
}

fn sqlite(
    config: &DatabaseConfig,
    statement: Option<Duration>,
) -> anyhow::Result<LimitedPool<sqlx::Sqlite>> {
    let options = SqliteConnectOptions::from_str(config.url.expose_secret())
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
    let connections = config.connections.unwrap_or(SQLITE_CONNECTIONS);
    let (options_of_pool, idle_check) = pool_options(connections);
    let pool = options_of_pool.connect_lazy_with(options);
    Ok(LimitedPool { pool, statement, begin: None, token: None, idle_check })
}

fn postgres(
    config: &DatabaseConfig,
    statement: Option<Duration>,
) -> anyhow::Result<LimitedPool<Postgres>> {
    let url = config.url.expose_secret();
    let mut options = PgConnectOptions::from_str(url).context("DATABASE_URL is not valid")?;
    let is_here = options.get_socket().is_some() || is_loopback(options.get_host());
    let is_iam = config.iam.is_some();
    if let Some(ca) = &config.ca {
        options = options.ssl_root_cert_from_pem(ca.expose_secret().as_bytes().to_vec());
    }
    if (config.ca.is_some() || is_iam) && !url.contains("sslmode=") {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    let is_verified = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull);
    // A token is as good as a password for a quarter of an hour.
    anyhow::ensure!(
        is_verified || is_here || !is_iam,
        "DATABASE_AUTH=iam needs sslmode=verify-full"
    );
    if !is_verified && !is_here {
        tracing::warn!(
            "the database's certificate is not verified: add sslmode=verify-full to DATABASE_URL, and DATABASE_CA if \
             its authority is not a public one"
        );
    }
    let token = config.iam.clone().map(|aws| {
        RdsToken::new(aws, options.get_host(), options.get_port(), options.get_username())
    });
    if config.has_pooler {
        // A prepared statement exists until the end of its transaction. PgBouncer refuses a start-up parameter that it
        // does not track.
        options = options.statement_cache_capacity(0).extra_float_digits(None);
    }
    let begin = config.has_pooler.then(|| session::begin_with_limits(statement));
    let limits = statement.filter(|_| !config.has_pooler).map(session::limits);
    let connections = config.connections.unwrap_or(POSTGRES_CONNECTIONS);
    let (options_of_pool, idle_check) = pool_options::<Postgres>(connections);
    let options_of_pool = options_of_pool.after_connect(move |connection, _| {
        let limits = limits.clone();
        Box::pin(async move {
            if let Some(limits) = limits {
                connection.execute(AssertSqlSafe(limits)).await?;
            }
            Ok(())
        })
    });
    let pool = options_of_pool.connect_lazy_with(options);
    Ok(LimitedPool { pool, statement, begin: begin.map(Arc::from), token, idle_check })
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

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn pool_options<DB: sqlx::Database>(connections: u32) -> (PoolOptions<DB>, IdleCheck) {
    let check = IdleCheck::default();
    let checked = check.clone();
    let options = PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(move |connection: &mut DB::Connection, known| {
            let check = checked.clone();
            Box::pin(async move { check.check(connection, known.idle_for).await })
        });
    (options, check)
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

    #[tokio::test]
    async fn a_token_is_sent_to_another_machine_only_if_its_certificate_is_verified() {
        let aws = crate::config::AwsConfig {
            region: "eu-north-1".to_owned(),
            credentials: None,
            ca_bundle: None,
        };
        let open = |url: &str| {
            let config = DatabaseConfig { iam: Some(aws.clone()), ..DatabaseConfig::of_url(url) };
            Database::open(&config, Duration::from_secs(1))
        };
        assert!(open("postgres://app@db.example/chat").is_ok(), "verify-full is the default");
        assert!(open("postgres://app@db.example/chat?sslmode=require").is_err());
        assert!(open("postgres://app@127.0.0.1/chat?sslmode=disable").is_ok());
    }

    /// The password that a client sends to a server of PostgreSQL's protocol, which asks for it in clear text.
    async fn received_password(listener: tokio::net::TcpListener) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u32().await.unwrap();
        stream.read_exact(&mut vec![0; length as usize - 4]).await.unwrap();
        // AuthenticationCleartextPassword
        stream.write_all(b"R\0\0\0\x08\0\0\0\x03").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'p');
        let length = stream.read_u32().await.unwrap();
        let mut password = vec![0; length as usize - 4];
        stream.read_exact(&mut password).await.unwrap();
        String::from_utf8(password).unwrap().trim_end_matches('\0').to_owned()
    }

    #[tokio::test]
    async fn a_connection_with_iam_authentication_sends_a_token() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let aws = crate::config::AwsConfig {
            region: "eu-north-1".to_owned(),
            credentials: Some(("AKIDEXAMPLE".to_owned(), "secret".to_owned().into())),
            ca_bundle: None,
        };
        let url = format!("postgres://app@{address}/chat?sslmode=disable");
        let config = DatabaseConfig { iam: Some(aws), ..DatabaseConfig::of_url(&url) };
        let database = Database::open(&config, Duration::from_secs(1)).unwrap();
        let (password, failed) = tokio::join!(received_password(listener), database.ping());
        assert!(failed.is_err());
        assert!(
            password.starts_with(&format!("{address}/?Action=connect&DBUser=app&")),
            "{password}"
        );
    }
}

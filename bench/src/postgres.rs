//! A temporary PostgreSQL cluster on loopback, with the default configuration of the package.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::process::{Process, free_address};

const START_AND_STOP_TIMEOUT: Duration = Duration::from_secs(10);
const FILL: &str = include_str!("../sql/fill.sql");
/// Settings for read-only measurements: data need not survive a crash, and filling the database need not wait for
/// checkpoints.
const NOT_DURABLE: &[&str] = &["fsync=off", "max_wal_size=8GB", "maintenance_work_mem=1GB"];

pub struct Postgres {
    process: Process,
    pub address: SocketAddr,
    runtime: Runtime,
    folder: TempDir,
}

/// Number of rows that `bench/sql/fill.sql` creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DatabaseSize {
    pub accounts: usize,
    pub rooms: usize,
    pub members: usize,
    pub messages: usize,
}

impl Postgres {
    /// Starts a cluster on these cores. A durable one syncs every commit, as by default.
    pub fn start(cores: &str, is_durable: bool) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("bench-pg-")?;
        // Accessible for the user that the server runs as.
        run(Command::new("chmod").arg("0777").arg(folder.path()))?;
        let bin = binaries()?;
        let data = folder.path().join("data");
        let mut initdb = as_postgres(&bin.join("initdb"));
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-D"]);
        run(initdb.arg(&data).current_dir("/"))?;
        let address = free_address()?;
        let mut server = as_postgres(&bin.join("postgres"));
        server.arg("-D").arg(&data).args(["-p", &address.port().to_string()]);
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            // Recommended in infra/README.md.
            "random_page_cost=1.1",
            // The log is parsed for statements.
            "log_checkpoints=off",
        ];
        let durability = if is_durable { &[] } else { NOT_DURABLE };
        for setting in settings.iter().chain(durability) {
            server.args(["-c", setting]);
        }
        server.current_dir("/");
        let log = fs::File::create(folder.path().join("log"))?;
        let process = Process::start_logging(&server, cores, address, log)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { process, address, runtime, folder })
    }

    /// The value of `DATABASE_URL` for a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// Runs statements and ignores their rows.
    pub fn execute(&self, database: &str, statements: &str) -> anyhow::Result<()> {
        self.with_connection(database, async |connection| {
            connection.execute(AssertSqlSafe(statements)).await?;
            Ok(())
        })
    }

    /// Runs a query and returns the text values of its first column.
    pub fn texts(&self, database: &str, query: &str) -> anyhow::Result<Vec<String>> {
        self.with_connection(database, async |connection| {
            Ok(sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(connection).await?)
        })
    }

    /// Runs `work` on a new connection.
    fn with_connection<T>(
        &self,
        database: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let url = self.url(database);
        self.runtime.block_on(async {
            let began = Instant::now();
            // The port is open before the server accepts logins.
            let mut connection = loop {
                match PgConnection::connect(&url).await {
                    Ok(connection) => break connection,
                    Err(sqlx::Error::Database(error))
                        if error.code().as_deref() == Some("57P03")
                            && began.elapsed() < START_AND_STOP_TIMEOUT =>
                    {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Err(error) => return Err(error).context("cannot connect to PostgreSQL"),
                }
            };
            let result = work(&mut connection).await?;
            connection.close().await?;
            Ok(result)
        })
    }

    /// Fills a provisioned database. Indexes on messages that belong to no constraint are dropped before and created
    /// after the inserts, which is faster than updating them five million times.
    pub fn fill(&self, database: &str, size: DatabaseSize) -> anyhow::Result<()> {
        let indexes = self.texts(
            database,
            "SELECT indexdef FROM pg_indexes i WHERE schemaname = 'public' AND tablename = 'message'
             AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conname = i.indexname)",
        )?;
        let drops = self.texts(
            database,
            "SELECT format('DROP INDEX %I', indexname) FROM pg_indexes i
             WHERE schemaname = 'public' AND tablename = 'message'
             AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conname = i.indexname)",
        )?;
        let DatabaseSize { accounts, rooms, members, messages } = size;
        let fill = FILL
            .replace("{accounts}", &accounts.to_string())
            .replace("{rooms}", &rooms.to_string())
            .replace("{members}", &members.to_string())
            .replace("{messages}", &messages.to_string());
        self.execute(database, &drops.join(";"))?;
        self.execute(database, &fill)?;
        self.execute(database, &indexes.join(";"))?;
        self.execute(database, "VACUUM (FREEZE, ANALYZE)")
    }

    /// CPU time of all processes of the server, including those that have exited.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.process.cpu_seconds_of_tree()
    }

    pub fn log(&self) -> anyhow::Result<String> {
        let log = fs::read(self.folder.path().join("log"))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // After SIGKILL, its child processes would go on writing to the folder for a while.
        self.process.interrupt(START_AND_STOP_TIMEOUT);
    }
}

/// A command that runs as the user `postgres` if this process runs as root, which PostgreSQL refuses.
/// tests/src/postgres.rs has a copy, because `bench` must not depend on the test crate.
fn as_postgres(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn binaries() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let bins = versions.map(|version| version.path().join("bin"));
    let newest = bins.filter(|bin| bin.join("initdb").exists()).max();
    newest.context("the PostgreSQL server is missing: `infra/setup.sh bench` installs it")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

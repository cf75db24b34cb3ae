//! A PostgreSQL cluster of a run: loopback, in a folder of its own, set up as the package has it.

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

const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const FILL: &str = include_str!("../sql/fill.sql");
/// What is only read need not survive a crash; and one big write need not stop for checkpoints.
const HURRIED: &[&str] = &["fsync=off", "max_wal_size=8GB", "maintenance_work_mem=1GB"];

/// See the module.
pub struct Postgres {
    process: Process,
    pub address: SocketAddr,
    runtime: Runtime,
    folder: TempDir,
}

/// How much `bench/sql/fill.sql` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Filling {
    pub accounts: usize,
    pub rooms: usize,
    pub members: usize,
    pub messages: usize,
}

impl Postgres {
    /// Starts one on these cores. A durable one syncs every commit, as it does unless told otherwise.
    pub fn start(cores: &str, is_durable: bool) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("bench-pg-")?;
        // The user that the server runs as must be able to come here.
        run(Command::new("chmod").arg("0777").arg(folder.path()))?;
        let bin = binaries()?;
        let data = folder.path().join("data");
        let mut initdb = as_postgres(&bin.join("initdb"));
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-D"]);
        run(initdb.arg(&data).current_dir("/"))?;
        let address = free_address()?;
        let mut server = as_postgres(&bin.join("postgres"));
        server.arg("-D").arg(&data).args(["-p", &address.port().to_string()]);
        // The last one infra/README.md asks for.
        let settings =
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "random_page_cost=1.1"];
        // A checkpoint is of interest to nobody; a statement's end is, where it is asked for.
        let settings = settings.iter().chain(&["log_checkpoints=off"]);
        let hurried = if is_durable { &[] } else { HURRIED };
        for setting in settings.chain(hurried) {
            server.args(["-c", setting]);
        }
        server.current_dir("/");
        let log = fs::File::create(folder.path().join("log"))?;
        let process = Process::start_logging(server, cores, address, log)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { process, address, runtime, folder })
    }

    /// As `DATABASE_URL` has it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// Runs statements; what they return is dropped.
    pub fn execute(&self, database: &str, statements: &str) -> anyhow::Result<()> {
        self.with(database, async |connection| {
            connection.execute(AssertSqlSafe(statements)).await?;
            Ok(())
        })
    }

    /// The text values of the first column.
    pub fn texts(&self, database: &str, query: &str) -> anyhow::Result<Vec<String>> {
        self.with(database, async |connection| {
            Ok(sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(connection).await?)
        })
    }

    fn with<T>(
        &self,
        database: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let url = self.url(database);
        self.runtime.block_on(async {
            let began = Instant::now();
            // Its port opens before it takes anybody in.
            let mut connection = loop {
                match PgConnection::connect(&url).await {
                    Ok(connection) => break connection,
                    Err(sqlx::Error::Database(error))
                        if error.code().as_deref() == Some("57P03")
                            && began.elapsed() < STOPPED_WITHIN =>
                    {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Err(error) => return Err(error).context("cannot connect to PostgreSQL"),
                }
            };
            let done = work(&mut connection).await?;
            connection.close().await?;
            Ok(done)
        })
    }

    /// Fills a database that was provisioned. Indexes on messages that are no constraint are made
    /// afterwards, once, instead of five million times.
    pub fn fill(&self, database: &str, filling: Filling) -> anyhow::Result<()> {
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
        let Filling { accounts, rooms, members, messages } = filling;
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

    /// What the server's processes have used so far, those that ended included.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.process.cpu_seconds_of_all()
    }

    /// The server's log so far.
    pub fn log(&self) -> anyhow::Result<String> {
        let log = fs::read(self.folder.path().join("log"))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed, it would leave its processes behind for a while, and they write into the folder.
        self.process.interrupt(STOPPED_WITHIN);
    }
}

/// PostgreSQL refuses to run as root; then it runs as its own user.
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
    newest.context("PostgreSQL's server is missing: `infra/setup.sh bench` gets it")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

//! The HTTP functions with PostgreSQL, NATS and generated data.

use std::{fs::File, net::SocketAddr, process::Command};

use anyhow::Context as _;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    environment::Environment,
    http::{self, Connection},
    identity,
    password::{self, Cost},
    peers::bare_pages,
    postgres::{DatabaseSize, Postgres},
    process::{Process, free_address},
    servers::MEASURED,
    statement_log::Statement,
};

pub const DATABASE: &str = "chat";
/// A small database, in which every list still fills a page.
pub const SMALL: DatabaseSize =
    DatabaseSize { accounts: 60, rooms: 60, members: 600, messages: 12_000 };
/// Number of rooms that `user1` is a member of: more than a page.
const ROOMS_OF_USER: usize = 60;

/// PostgreSQL and NATS, provisioned and filled with data, and the server that is currently measured.
pub struct Backend {
    // Dropped before the services that it is connected to.
    server: Option<Process>,
    pub postgres: Postgres,
    environment: Environment,
    folder: TempDir,
}

impl Backend {
    /// All accounts have the password [`password::PASSWORD`]. `user1` is a member of the biggest rooms, of which two
    /// are unread, and of some small ones.
    pub fn start(cores: &str, is_durable: bool, size: DatabaseSize) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let postgres = Postgres::start(cores, is_durable)?;
        postgres.execute("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        let mut environment = Environment::start(cores, folder.path())?;
        environment.set("DATABASE_URL", postgres.url(DATABASE));
        for limit in ["LIMIT_USER_EVENT_RATE", "LIMIT_ROOM_EVENT_RATE", "LIMIT_ROOMS_PER_HOUR"] {
            environment.set(limit, "0");
        }
        environment.set("SIGNING_KEY", identity::signing_key()?);
        for (name, value) in [
            ("PUBLIC_URL", "http://127.0.0.1:1"),
            // No measured request uses S3.
            ("S3_ENDPOINT", "http://127.0.0.1:1"),
            ("S3_BUCKET", "files"),
            ("AWS_ACCESS_KEY_ID", "bench"),
            ("AWS_SECRET_ACCESS_KEY", "bench"),
        ] {
            environment.set(name, value);
        }
        environment.provision("database,nats")?;
        postgres.fill(DATABASE, size)?;
        let hash = password::hash(Cost::PRODUCTION)?;
        let half = ROOMS_OF_USER / 2;
        postgres.execute(
            DATABASE,
            &format!(
                "UPDATE account SET password_hash = '{hash}';
                 INSERT INTO member (room_id, user_id, role, joined_at, read_seq)
                 SELECT r.id, a.id, 'member', now(),
                   CASE WHEN r.name IN ('room-1', 'room-2') THEN 0 ELSE {read} END
                 FROM room r, account a
                 WHERE a.name = 'user1' AND r.name IN (
                   SELECT 'room-' || n FROM generate_series(1, {half}) n
                   UNION SELECT 'room-' || {rooms} - n FROM generate_series(0, {half} - 1) n)
                 ON CONFLICT DO NOTHING;
                 ANALYZE",
                read = size.messages.saturating_sub(20),
                rooms = size.rooms,
            ),
        )?;
        Ok(Self { server: None, postgres, environment, folder })
    }

    fn log(&self, name: &str) -> anyhow::Result<File> {
        Ok(File::create(self.folder.path().join(name))?)
    }

    /// Starts `functions` instead of the server that was measured before.
    pub fn functions(&mut self) -> anyhow::Result<SocketAddr> {
        let address = free_address()?;
        let mut command = self.environment.command("functions")?;
        command.args(["--listen", &address.to_string()]);
        self.start_measured(&command, address, "functions.log")
    }

    /// Starts the bare server for a page's statements instead of the server that was measured before.
    pub fn bare_server(&mut self, statements: &[Statement]) -> anyhow::Result<SocketAddr> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["peer", "pages", &address.to_string()]);
        command.env(bare_pages::STATEMENTS, serde_json::to_string(statements)?);
        command.env(bare_pages::DATABASE_URL, self.postgres.url(DATABASE));
        self.start_measured(&command, address, "peer.log")
    }

    fn start_measured(
        &mut self,
        command: &Command,
        address: SocketAddr,
        log: &str,
    ) -> anyhow::Result<SocketAddr> {
        self.server = None;
        // Logging is part of the cost: one line per request, as in production.
        let server = Process::start_logging(command, MEASURED, address, self.log(log)?);
        self.server = Some(server.with_context(|| {
            std::fs::read_to_string(self.folder.path().join(log)).unwrap_or_default()
        })?);
        Ok(address)
    }

    /// Starts `archive --follow` on these cores.
    pub fn start_archive(&mut self, cores: &str) -> anyhow::Result<()> {
        let address = free_address()?;
        let mut command = self.environment.command("archive")?;
        command.arg("--follow").env("METRICS_LISTEN", address.to_string());
        let log = self.log("archive.log")?;
        self.server = Some(Process::start_logging(&command, cores, address, log)?);
        Ok(())
    }

    /// CPU time of the measured server.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let server = self.server.as_ref().context("no measured server is running")?;
        Ok(server.usage()?.cpu_seconds)
    }

    pub fn nats(&self) -> SocketAddr {
        self.environment.nats
    }
}

/// Logs in and returns the access token.
pub fn log_in(functions: SocketAddr, name: &str) -> anyhow::Result<String> {
    let tokens = Connection::open(functions)?.json(&login_request(functions, name))?;
    Ok(tokens["accessToken"].as_str().context("the response has no access token")?.to_owned())
}

pub fn login_request(functions: SocketAddr, name: &str) -> Vec<u8> {
    http::post(functions, "/login", &json!({ "name": name, "password": password::PASSWORD }))
}

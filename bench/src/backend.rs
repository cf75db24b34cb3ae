//! The HTTP functions with what they need: PostgreSQL, NATS, and somebody who is logged in.

use std::{fs::File, net::SocketAddr, process::Command};

use anyhow::Context as _;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    chat::Chat,
    http::{self, Connection},
    identity,
    learned::Statement,
    password::{self, Cost},
    peers::pages,
    postgres::{Filling, Postgres},
    process::{Process, free_address},
    servers::MEASURED,
};

/// The database's name.
pub const DATABASE: &str = "chat";
/// A database with next to nothing in it; a page of each kind is full all the same.
pub const NEARLY_EMPTY: Filling =
    Filling { accounts: 60, rooms: 60, members: 600, messages: 12_000 };
/// Rooms that the user is in: more than a page.
const ROOMS: usize = 60;

/// PostgreSQL and NATS, provisioned and filled; what is measured is started beside them.
pub struct Backend {
    // Dropped first: it is a client of the others.
    server: Option<Process>,
    pub postgres: Postgres,
    chat: Chat,
    folder: TempDir,
}

impl Backend {
    /// Starts and fills. All accounts have the password of [`password::PASSWORD`]; `user1` is in the
    /// biggest rooms, two of which they have never read, and in some small ones.
    pub fn start(cores: &str, is_durable: bool, filling: Filling) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let postgres = Postgres::start(cores, is_durable)?;
        postgres.execute("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        let mut chat = Chat::start(cores, folder.path())?;
        chat.set("DATABASE_URL", postgres.url(DATABASE));
        for limit in ["LIMIT_USER_EVENT_RATE", "LIMIT_ROOM_EVENT_RATE", "LIMIT_ROOMS_PER_HOUR"] {
            chat.set(limit, "0");
        }
        chat.set("SIGNING_KEY", identity::signing_key()?);
        for (name, value) in [
            ("PUBLIC_URL", "http://127.0.0.1:1"),
            // Nothing that is measured asks for a file.
            ("S3_ENDPOINT", "http://127.0.0.1:1"),
            ("S3_BUCKET", "files"),
            ("AWS_ACCESS_KEY_ID", "bench"),
            ("AWS_SECRET_ACCESS_KEY", "bench"),
        ] {
            chat.set(name, value);
        }
        chat.provision("database,nats")?;
        postgres.fill(DATABASE, filling)?;
        let hash = password::hash(Cost::USUAL)?;
        let half = ROOMS / 2;
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
                read = filling.messages.saturating_sub(20),
                rooms = filling.rooms,
            ),
        )?;
        Ok(Self { server: None, postgres, chat, folder })
    }

    fn log(&self, name: &str) -> anyhow::Result<File> {
        Ok(File::create(self.folder.path().join(name))?)
    }

    /// Starts `functions`, in the place of what was measured before.
    pub fn functions(&mut self) -> anyhow::Result<SocketAddr> {
        let address = free_address()?;
        let mut command = self.chat.command("functions")?;
        command.args(["--listen", &address.to_string()]);
        self.measure(command, address, "functions.log")
    }

    /// Starts the peer with a page's statements, in the place of what was measured before.
    pub fn peer(&mut self, statements: &[Statement]) -> anyhow::Result<SocketAddr> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["peer", "pages", &address.to_string()]);
        command.env(pages::STATEMENTS, serde_json::to_string(statements)?);
        command.env(pages::DATABASE, self.postgres.url(DATABASE));
        self.measure(command, address, "peer.log")
    }

    fn measure(
        &mut self,
        command: Command,
        address: SocketAddr,
        log: &str,
    ) -> anyhow::Result<SocketAddr> {
        self.server = None;
        // With its log, as in production: one line for a request.
        let server = Process::start_logging(command, MEASURED, address, self.log(log)?);
        self.server = Some(server.with_context(|| {
            std::fs::read_to_string(self.folder.path().join(log)).unwrap_or_default()
        })?);
        Ok(address)
    }

    /// Starts `archive --follow` on these cores.
    pub fn archive(&mut self, cores: &str) -> anyhow::Result<()> {
        let address = free_address()?;
        let mut command = self.chat.command("archive")?;
        command.arg("--follow").env("METRICS_LISTEN", address.to_string());
        let log = self.log("archive.log")?;
        self.server = Some(Process::start_logging(command, cores, address, log)?);
        Ok(())
    }

    /// CPU of what is measured.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let server = self.server.as_ref().context("nothing is measured")?;
        Ok(server.usage()?.cpu_seconds)
    }

    pub fn nats(&self) -> SocketAddr {
        self.chat.nats
    }
}

/// An access token of an account.
pub fn log_in(functions: SocketAddr, name: &str) -> anyhow::Result<String> {
    let tokens = Connection::open(functions)?.json(&login(functions, name))?;
    Ok(tokens["accessToken"].as_str().context("no token")?.to_owned())
}

/// The request of a login.
pub fn login(functions: SocketAddr, name: &str) -> Vec<u8> {
    http::post(functions, "/login", &json!({ "name": name, "password": password::PASSWORD }))
}

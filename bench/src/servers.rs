//! The servers that are measured, each started the same way.

use std::{net::SocketAddr, process::Command};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{
    chat::{Chat, bench_folder},
    identity::Identity,
    load::Dialect,
    process::{Process, Usage, free_address},
};

/// Where what is measured runs; all else runs on the other one.
pub const MEASURED: &str = "0";
pub const OTHERS: &str = "1";
/// For what the whole machine does together.
pub const ALL: &str = "0,1";

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Our gateway: durable JetStream sends, verified tokens, metrics.
    Gateway,
    /// Two of our gateways, members spread over both.
    Gateway2,
    /// Node socket.io 4.8, in memory.
    SocketIo,
    /// Two of them with the Redis adapter.
    SocketIoRedis2,
    /// Node `ws`.
    Ws,
    /// socketioxide on axum.
    Socketioxide,
    /// One thread, epoll, pre-encoded frames, one write per socket and turn.
    Floor,
    /// nats-server's core publish → subscribe.
    NatsCore,
}

impl Kind {
    /// As tables name it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Gateway2 => "2 gateways",
            Self::SocketIo => "socket.io 4.8 (Node)",
            Self::SocketIoRedis2 => "2 × socket.io + Redis",
            Self::Ws => "ws (Node)",
            Self::Socketioxide => "socketioxide",
            Self::Floor => "epoll floor",
            Self::NatsCore => "nats-server core",
        }
    }
}

/// A running server, or several that work together.
pub struct Server {
    pub addresses: Vec<SocketAddr>,
    pub dialect: Dialect,
    measured: Vec<Process>,
    /// Where JetStream listens, if it is there.
    jetstream: Option<SocketAddr>,
    _others: Vec<Process>,
    _folder: Option<TempDir>,
}

impl Server {
    /// What the measured processes have used, all together.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        self.measured.iter().try_fold(Usage::default(), |sum, process| Ok(sum + process.usage()?))
    }

    /// The JetStream of a gateway, to be spoken to without it; as long as this server lives.
    pub fn jetstream(&self) -> anyhow::Result<Self> {
        Ok(Self {
            addresses: vec![self.jetstream.context("only ours has JetStream")?],
            dialect: Dialect::JetStream,
            measured: Vec::new(),
            jetstream: None,
            _others: Vec::new(),
            _folder: None,
        })
    }

    /// Starts one.
    pub fn start(kind: Kind, identity: &Identity) -> anyhow::Result<Self> {
        Self::start_on(kind, identity, MEASURED)
    }

    /// Starts one with what is measured on another core.
    pub fn start_on(kind: Kind, identity: &Identity, core: &str) -> anyhow::Result<Self> {
        let mut server = Self {
            addresses: Vec::new(),
            dialect: if kind == Kind::NatsCore { Dialect::Nats } else { Dialect::SocketIo },
            measured: Vec::new(),
            jetstream: None,
            _others: Vec::new(),
            _folder: None,
        };
        match kind {
            Kind::Gateway => server.gateways(1, identity, core)?,
            Kind::Gateway2 => server.gateways(2, identity, core)?,
            Kind::SocketIo => server.node("socketio.mjs", None, core)?,
            Kind::Ws => server.node("ws.mjs", None, core)?,
            Kind::SocketIoRedis2 => {
                let redis = server.redis(others(core))?;
                server.node("socketio.mjs", Some(redis), core)?;
                server.node("socketio.mjs", Some(redis), core)?;
            }
            Kind::Socketioxide => server.own("socketioxide", core)?,
            Kind::Floor => server.own("floor", core)?,
            Kind::NatsCore => {
                let (address, process) = server.nats(core)?;
                server.addresses.push(address);
                server.measured.push(process);
            }
        }
        Ok(server)
    }

    fn add(&mut self, core: &str, make: impl FnOnce(SocketAddr) -> Command) -> anyhow::Result<()> {
        let address = free_address()?;
        self.measured.push(Process::start(make(address), core, address)?);
        self.addresses.push(address);
        Ok(())
    }

    fn node(&mut self, script: &str, redis: Option<SocketAddr>, core: &str) -> anyhow::Result<()> {
        self.add(core, |address| {
            let mut command = Command::new("node");
            command.arg(bench_folder().join("peers").join(script));
            command.env("NODE_ENV", "production").env("PORT", address.port().to_string());
            if let Some(redis) = redis {
                command.env("REDIS_URL", format!("redis://{redis}"));
            }
            command
        })
    }

    fn own(&mut self, peer: &str, core: &str) -> anyhow::Result<()> {
        let program = std::env::current_exe()?;
        self.add(core, |address| {
            let mut command = Command::new(program);
            command.args(["peer", peer, &address.to_string()]);
            command
        })
    }

    fn redis(&mut self, cores: &str) -> anyhow::Result<SocketAddr> {
        let address = free_address()?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no"]);
        self._others.push(Process::start(command, cores, address)?);
        Ok(address)
    }

    /// Ours, or a bare one for the floor: then anybody may publish what is not the chat's.
    fn nats(&self, core: &str) -> anyhow::Result<(SocketAddr, Process)> {
        let address = free_address()?;
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string(), "-l", "/dev/null"]);
        Ok((address, Process::start(command, core, address)?))
    }

    fn gateways(&mut self, count: usize, identity: &Identity, core: &str) -> anyhow::Result<()> {
        let folder = TempDir::new()?;
        let mut chat = Chat::start(others(core), folder.path())?;
        for (name, value) in [
            ("JWKS", identity.jwks()?.as_str()),
            ("LIMIT_EVENT_RATE", "0"),
            ("LIMIT_EVENT_BURST", "0"),
            ("LIMIT_USER_EVENT_RATE", "0"),
            ("LIMIT_ROOM_EVENT_RATE", "0"),
            ("LIMIT_SOCKETS_PER_ADDRESS", "0"),
            ("LIMIT_SOCKETS_PER_USER", "0"),
            ("ALLOWED_ORIGINS", "*"),
            ("RUST_LOG", &std::env::var("RUST_LOG").unwrap_or("warn".to_owned())),
            ("METRICS_LISTEN", "127.0.0.1:0"),
        ] {
            chat.set(name, value);
        }
        chat.provision("nats")?;
        for _ in 0..count {
            let mut command = chat.command("gateway")?;
            self.add(core, |address| {
                command.args(["--listen", &address.to_string()]);
                command
            })?;
        }
        self.jetstream = Some(chat.nats);
        self._others.push(chat.process);
        self._folder = Some(folder);
        Ok(())
    }
}

/// Where what is not measured runs, beside what is measured on `cores`.
fn others(cores: &str) -> &'static str {
    if cores == ALL { ALL } else { OTHERS }
}

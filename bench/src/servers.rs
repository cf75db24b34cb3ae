//! The measured servers, all started in the same way.

use std::{net::SocketAddr, process::Command};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{
    environment::{Environment, bench_folder},
    identity::Identity,
    load::WireProtocol,
    process::{Process, Usage, free_address},
};

/// Core of the measured server.
pub const MEASURED: &str = "0";
/// Core of everything else, such as the load generator.
pub const OTHERS: &str = "1";
/// Both cores, for measurements of the whole machine.
pub const ALL: &str = "0,1";

/// A kind of measured server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Our gateway: durable JetStream sends, verified tokens, metrics.
    Gateway,
    /// Two of our gateways, members spread over both.
    Gateway2,
    /// socket.io 4.8 on Node with its in-memory adapter.
    SocketIo,
    /// Two socket.io processes with the Redis adapter.
    SocketIoRedis2,
    /// The library `ws` on Node.
    Ws,
    /// socketioxide on axum.
    Socketioxide,
    /// A lower bound of the cost: one thread, epoll, pre-encoded frames, one write per socket and loop iteration.
    Floor,
    /// Publish and subscribe of nats-server without JetStream.
    NatsCore,
}

impl Kind {
    /// Name in tables and plots.
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

/// A running server, or several that form a cluster.
pub struct Server {
    pub addresses: Vec<SocketAddr>,
    pub protocol: WireProtocol,
    measured: Vec<Process>,
    /// Address of the NATS server, if there is one with JetStream.
    jetstream: Option<SocketAddr>,
    _others: Vec<Process>,
    _folder: Option<TempDir>,
}

impl Server {
    /// Total usage of the measured processes.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        self.measured.iter().try_fold(Usage::default(), |sum, process| Ok(sum + process.usage()?))
    }

    /// The NATS server of our gateway, as a server that clients connect to directly. It runs as long as `self`.
    pub fn jetstream(&self) -> anyhow::Result<Self> {
        Ok(Self {
            addresses: vec![self.jetstream.context("only our gateway has JetStream")?],
            protocol: WireProtocol::JetStream,
            measured: Vec::new(),
            jetstream: None,
            _others: Vec::new(),
            _folder: None,
        })
    }

    /// Starts a server on the core [`MEASURED`].
    pub fn start(kind: Kind, identity: &Identity) -> anyhow::Result<Self> {
        Self::start_on(kind, identity, MEASURED)
    }

    /// Starts a server on these cores.
    pub fn start_on(kind: Kind, identity: &Identity, core: &str) -> anyhow::Result<Self> {
        let mut server = Self {
            addresses: Vec::new(),
            protocol: if kind == Kind::NatsCore {
                WireProtocol::Nats
            } else {
                WireProtocol::SocketIo
            },
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
            Kind::Socketioxide => server.peer("socketioxide", core)?,
            Kind::Floor => server.peer("floor", core)?,
            Kind::NatsCore => {
                let (address, process) = server.nats(core)?;
                server.addresses.push(address);
                server.measured.push(process);
            }
        }
        Ok(server)
    }

    /// Starts a measured process. `command` returns its command for a listening address.
    fn add(
        &mut self,
        core: &str,
        command: impl FnOnce(SocketAddr) -> Command,
    ) -> anyhow::Result<()> {
        let address = free_address()?;
        self.measured.push(Process::start(&command(address), core, address)?);
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

    /// A server that is part of this binary.
    fn peer(&mut self, peer: &str, core: &str) -> anyhow::Result<()> {
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
        self._others.push(Process::start(&command, cores, address)?);
        Ok(address)
    }

    /// A NATS server without configuration, in which every client may publish any subject.
    fn nats(&self, core: &str) -> anyhow::Result<(SocketAddr, Process)> {
        let address = free_address()?;
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string(), "-l", "/dev/null"]);
        Ok((address, Process::start(&command, core, address)?))
    }

    fn gateways(&mut self, count: usize, identity: &Identity, core: &str) -> anyhow::Result<()> {
        let folder = TempDir::new()?;
        let mut environment = Environment::start(others(core), folder.path())?;
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
            environment.set(name, value);
        }
        environment.provision("nats")?;
        for _ in 0..count {
            let mut command = environment.command("gateway")?;
            self.add(core, |address| {
                command.args(["--listen", &address.to_string()]);
                command
            })?;
        }
        self.jetstream = Some(environment.nats);
        self._others.push(environment.process);
        self._folder = Some(folder);
        Ok(())
    }
}

/// Cores of processes that are not measured, while the measured ones run on `cores`.
fn others(cores: &str) -> &'static str {
    if cores == ALL { ALL } else { OTHERS }
}

//! The gateway's configuration: environment variables only.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use protocol::{limits, rate::Rate, subject::Shards};
use secrecy::ExposeSecret as _;
use service::{
    client,
    env::{Env, List},
    nats::{NatsConfig, shards_from_env},
    publish::PublishBudgets,
};

use crate::memory;

/// The configuration of a gateway.
#[derive(Debug, Clone)]
pub struct Config {
    pub nats: NatsConfig,
    /// `CHAT_SHARDS`: how many streams the rooms are spread over; the same for all processes.
    pub shards: Shards,
    pub keys: KeySource,
    /// `ALLOWED_ORIGINS`: pages of these origins may connect; `*` allows all. Programs usually send no origin.
    pub origins: Vec<String>,
    /// `GATEWAY_THREADS`: threads that hold sockets; by default one per core.
    pub threads: usize,
    /// `DRAIN_SECONDS`: how long clients have to move to another gateway when this one stops.
    pub drain: Duration,
    pub limits: Limits,
    /// `LIMIT_USER_EVENT_RATE`, `LIMIT_ROOM_EVENT_RATE` and their bursts, with the current usage.
    pub publish: PublishBudgets,
    /// `MEMORY_BUDGET_BYTES`: bytes that all sockets and rooms together may buffer; by default a quarter of the
    /// memory limit.
    pub memory_budget: usize,
    /// `REVOCATIONS_UNSEEN_SECONDS`: if the bucket of revocations could not be read for this long, sockets must
    /// authenticate again. Shorter than [`limits::REVOKED_SECONDS`], for which the bucket keeps entries.
    pub revocations_unseen_at_most: Duration,
    /// `TRUSTED_PROXY_HOPS`: trusted proxies in front, each of which appends to `X-Forwarded-For`.
    pub trusted_hops: usize,
    /// `CONFORMANCE_ECHO`: `/engine.io/` and `/socket.io/` echo messages as the conformance suites of
    /// engine.io-protocol and socket.io-protocol expect, instead of serving the chat. For tests only: only
    /// connections from loopback are accepted.
    pub conformance_echo: bool,
}

/// The source of the public keys.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// `JWKS_URL`: fetched at start and regularly after that.
    Url(String),
    /// `JWKS` or `JWKS_FILE`: the document itself.
    Inline(String),
}

/// Limits per client. 0 in the environment switches a limit off.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `LIMIT_MESSAGE_CHARS`
    pub message_chars: usize,
    /// `LIMIT_FRAME_BYTES`: bytes of one received WebSocket message.
    pub frame_bytes: usize,
    /// `LIMIT_EVENT_RATE`: events a second and socket, sustained; 0 for no limit.
    pub event_rate: u32,
    /// `LIMIT_EVENT_BURST`: events at once; 0 for no limit.
    pub event_burst: u32,
    /// `LIMIT_ROOMS_PER_SOCKET`
    pub rooms_per_socket: usize,
    /// `LIMIT_SOCKETS_PER_USER`, on one gateway.
    pub sockets_per_user: usize,
    /// `LIMIT_SOCKETS_PER_ADDRESS`, on one gateway. An IPv6 /64 counts as one address.
    pub sockets_per_address: usize,
    /// `LIMIT_HANDSHAKE_SECONDS`: an unauthenticated socket is closed after this.
    pub handshake: Duration,
    /// `PING_INTERVAL_SECONDS` and `PING_TIMEOUT_SECONDS`: Engine.IO's heartbeat. Fractions of seconds are
    /// allowed, here and for the handshake.
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
}

/// The burst of joins and leaves, as a multiple of the room limit: a client may join all its rooms, get `lag` in all
/// of them and join them again at once.
const JOINS_PER_ROOM: usize = 2;
/// The rate of pings, pongs and other packets without content. With [`SHORTEST_PING`], a client answers 10 pings a
/// second.
const CONTROL_RATE: f64 = 20.0;
const CONTROL_BURST: u32 = 100;
/// Upper bound of `LIMIT_FRAME_BYTES`, which applies even if that limit is switched off.
const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// Far more than any machine has cores.
const MAX_THREADS: usize = 1024;
/// Default of `REVOCATIONS_UNSEEN_SECONDS`: half of the time for which revocations are kept.
const REVOCATIONS_UNSEEN_SECONDS: u64 = limits::REVOKED_SECONDS / 2;
/// Maximum of `REVOCATIONS_UNSEEN_SECONDS`: five minutes less than the time for which revocations are kept,
/// because clocks differ and a broken connection is noticed late.
const REVOCATIONS_UNSEEN_SECONDS_AT_MOST: u64 = limits::REVOKED_SECONDS - 300;
/// The value of a deadline that is switched off: a day, so that adding it to a time cannot overflow.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// The deadline of one handshake step if the handshake limit is switched off.
const LONGEST_STEP: Duration = Duration::from_secs(60);
/// Minimum of `PING_INTERVAL_SECONDS`: more frequent pings would only cause load.
const SHORTEST_PING: Duration = Duration::from_millis(100);

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_chars: limits::MESSAGE_CHARS,
            frame_bytes: limits::FRAME_BYTES,
            event_rate: 20,
            event_burst: 40,
            rooms_per_socket: 50,
            sockets_per_user: 100,
            sockets_per_address: 1_000,
            handshake: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
        }
    }
}

impl Limits {
    /// The rate of events other than joins and leaves.
    pub fn events(&self) -> Option<Rate> {
        Rate::new(self.event_rate.into(), self.event_burst)
    }

    /// The rate of `join-room` and `leave-room`.
    pub fn joins(&self) -> Option<Rate> {
        let burst = self.rooms_per_socket.saturating_mul(JOINS_PER_ROOM);
        let burst = u32::try_from(burst).unwrap_or(u32::MAX).max(self.event_burst);
        // A burst of zero means no limit.
        Rate::new(self.event_rate.into(), if self.event_burst == 0 { 0 } else { burst })
    }

    /// The rate of packets without content.
    pub fn control(&self) -> Option<Rate> {
        Rate::new(CONTROL_RATE, CONTROL_BURST)
    }

    /// Timeout of a step that the handshake deadline does not cover: receiving a request body, or the upgrade
    /// to WebSocket.
    pub fn step(&self) -> Duration {
        self.handshake.min(LONGEST_STEP)
    }

    fn from_env(env: &mut Env<'_>) -> Self {
        let default = Self::default();
        let seconds = |env: &mut Env<'_>, name, default: Duration| {
            let seconds = env.or(name, default.as_secs_f64());
            match Duration::try_from_secs_f64(seconds) {
                Ok(wait) if wait < NO_LIMIT => wait,
                _ => {
                    env.fault(format!("{name} must be a number of seconds, at most a day"));
                    default
                }
            }
        };
        Self {
            message_chars: env.limit("LIMIT_MESSAGE_CHARS", default.message_chars),
            frame_bytes: match env.within(
                "LIMIT_FRAME_BYTES",
                0..=MAX_FRAME_BYTES,
                default.frame_bytes,
            ) {
                0 => MAX_FRAME_BYTES,
                bytes => bytes,
            },
            event_rate: env.or("LIMIT_EVENT_RATE", default.event_rate),
            event_burst: env.or("LIMIT_EVENT_BURST", default.event_burst),
            rooms_per_socket: env.limit("LIMIT_ROOMS_PER_SOCKET", default.rooms_per_socket),
            sockets_per_user: env.limit("LIMIT_SOCKETS_PER_USER", default.sockets_per_user),
            sockets_per_address: env
                .limit("LIMIT_SOCKETS_PER_ADDRESS", default.sockets_per_address),
            handshake: match seconds(env, "LIMIT_HANDSHAKE_SECONDS", default.handshake) {
                Duration::ZERO => NO_LIMIT,
                wait => wait,
            },
            ping_interval: seconds(env, "PING_INTERVAL_SECONDS", default.ping_interval)
                .max(SHORTEST_PING),
            ping_timeout: seconds(env, "PING_TIMEOUT_SECONDS", default.ping_timeout)
                .max(SHORTEST_PING),
        }
    }
}

impl KeySource {
    fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let is_url_set = env.optional::<String>("JWKS_URL").is_some();
        match (is_url_set, env.secret("JWKS")) {
            (true, None) => env.http_url("JWKS_URL").map(|url| Self::Url(url.into())),
            (false, Some(jwks)) => {
                let jwks = jwks.expose_secret().to_owned();
                if let Err(error) = serde_json::from_str::<JwkSet>(&jwks) {
                    env.fault(format!("JWKS is not valid: {error}"));
                }
                Some(Self::Inline(jwks))
            }
            _ => {
                env.fault(
                    "set JWKS_URL, such as http://functions:8080/.well-known/jwks.json, \
                     or JWKS (or JWKS_FILE), not both",
                );
                None
            }
        }
    }
}

impl Config {
    /// Reads all variables. Faults are recorded in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let nats = NatsConfig::from_env(env, "gateway");
        let keys = KeySource::from_env(env);
        let shards = shards_from_env(env);
        let memory_budget =
            env.optional("MEMORY_BUDGET_BYTES").unwrap_or_else(memory::default_budget);
        if memory_budget < memory::LEAST_BUDGET {
            env.fault(format!("MEMORY_BUDGET_BYTES must be at least {}", memory::LEAST_BUDGET));
        }
        let unseen = env.within(
            "REVOCATIONS_UNSEEN_SECONDS",
            1..=REVOCATIONS_UNSEEN_SECONDS_AT_MOST,
            REVOCATIONS_UNSEEN_SECONDS,
        );
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Some(Self {
            origins: env.or("ALLOWED_ORIGINS", List::default()).0,
            threads: env.within("GATEWAY_THREADS", 1..=MAX_THREADS, cores),
            drain: Duration::from_secs(env.or("DRAIN_SECONDS", 10)),
            limits: Limits::from_env(env),
            publish: PublishBudgets::from_env(env),
            memory_budget,
            revocations_unseen_at_most: Duration::from_secs(unseen),
            trusted_hops: client::trusted_hops_from_env(env),
            conformance_echo: env.or("CONFORMANCE_ECHO", false),
            nats: nats?,
            shards: shards?,
            keys: keys?,
        })
    }
}

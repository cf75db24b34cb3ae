//! Connecting to NATS.

mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, connection::State};
use protocol::subject::Shards;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_rustls::rustls::ClientConfig;

use crate::{env::Env, high_water::HighWater};

/// Timeout of JetStream requests. After it, the outcome of a request is unknown.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Maximum pause between attempts to reconnect. It is short, because all clients wait for the connection.
const RECONNECT_AT_MOST: Duration = Duration::from_secs(2);

/// Configuration of a process's connection to NATS.
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// The process's role. Used as the prefix of its inboxes, and as its user name unless `NATS_USER` is set.
    pub role: &'static str,
    /// `NATS_URL`: one or more of `nats://host:port`, separated by commas.
    pub url: String,
    pub credentials: Credentials,
    /// `NATS_CA`, `NATS_CERT`, `NATS_KEY`; without them the machine's root certificates and no client certificate.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Credentials for NATS, one of: `NATS_CREDS`, a JWT and a seed; `NATS_USER` and `NATS_PASSWORD`;
/// `NATS_<ROLE>_PASSWORD`, so that processes can share an environment; none.
#[derive(Debug, Clone)]
pub enum Credentials {
    None,
    /// The text of a credentials file.
    Creds(SecretString),
    Password {
        user: String,
        password: SecretString,
    },
}

impl NatsConfig {
    /// Reads `NATS_URL` and the credentials of a role.
    pub fn from_env(env: &mut Env<'_>, role: &'static str) -> Option<Self> {
        let url = servers_from_env(env);
        let creds = env.pem("NATS_CREDS");
        let tls = tls::from_env(env);
        let user: Option<String> = env.optional("NATS_USER");
        let password = env.secret("NATS_PASSWORD");
        let of_role = env.secret(&format!("NATS_{}_PASSWORD", role.to_uppercase()));
        let credentials = match (creds, user, password) {
            (None, None, None) => Some(of_role.map_or(Credentials::None, |password| {
                Credentials::Password { user: role.to_owned(), password }
            })),
            (Some(creds), None, None) => Some(Credentials::Creds(creds)),
            (None, Some(user), Some(password)) => Some(Credentials::Password { user, password }),
            _ => {
                env.fault("set NATS_CREDS, or both NATS_USER and NATS_PASSWORD, or none of them");
                None
            }
        };
        Some(Self { role, url: url?, credentials: credentials?, tls })
    }
}

/// Reads `NATS_URL`.
fn servers_from_env(env: &mut Env<'_>) -> Option<String> {
    let url: String = env.required("NATS_URL", "the address of NATS, such as nats://nats:4222")?;
    for server in url.split(',') {
        match server.trim().parse::<ServerAddr>() {
            Ok(address) if address.host().is_empty() => {
                env.fault("NATS_URL is not valid: an address without a host");
            }
            Ok(_) => {}
            Err(error) => env.fault(format!("NATS_URL is not valid: {error}")),
        }
    }
    Some(url)
}

impl NatsConfig {
    /// The configuration of TLS.
    pub fn tls_config(&self) -> std::io::Result<Arc<ClientConfig>> {
        self.tls.as_ref().map_or_else(tls::default, |tls| Ok(tls.clone()))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("NATS_CREDS: {0}")]
    Credentials(#[source] std::io::Error),
    #[error("cannot connect to NATS at {url}: {source}")]
    Connect { url: String, source: async_nats::ConnectError },
}

/// Connects now. Fails if NATS cannot be reached. `on_event` is called for every event of the connection, after it was
/// logged.
pub async fn connect(
    config: &NatsConfig,
    on_event: impl Fn(&Event) + Clone + Send + Sync + 'static,
) -> Result<Client, ConnectError> {
    start(options(config, on_event)?, config).await
}

/// Connects in the background, and tries again until it succeeds. Meanwhile the client's requests wait, and fail by
/// their timeouts. So a process starts while NATS is away.
pub async fn connect_in_background(
    config: &NatsConfig,
    on_event: impl Fn(&Event) + Clone + Send + Sync + 'static,
) -> Result<Client, ConnectError> {
    start(options(config, on_event)?.retry_on_initial_connect(), config).await
}

async fn start(options: ConnectOptions, config: &NatsConfig) -> Result<Client, ConnectError> {
    let servers: Vec<&str> = config.url.split(',').map(str::trim).collect();
    options
        .connect(servers)
        .await
        .map_err(|source| ConnectError::Connect { url: config.url.clone(), source })
}

/// Each role has its own inbox prefix, so that no other role can subscribe to its replies.
fn options(
    config: &NatsConfig,
    on_event: impl Fn(&Event) + Clone + Send + Sync + 'static,
) -> Result<ConnectOptions, ConnectError> {
    let options = match &config.credentials {
        Credentials::None => ConnectOptions::new(),
        Credentials::Creds(creds) => ConnectOptions::with_credentials(creds.expose_secret())
            .map_err(ConnectError::Credentials)?,
        Credentials::Password { user, password } => ConnectOptions::with_user_and_password(
            user.clone(),
            password.expose_secret().to_owned(),
        ),
    };
    let options = match &config.tls {
        Some(tls) => options.tls_client_config(ClientConfig::clone(tls)),
        None => options,
    };
    let role = config.role;
    // Until the event that the connection is made.
    let gauge = Arc::new(ConnectionGauge::new(false));
    let options = options
        .name(format!("chatting-room {role}"))
        .custom_inbox_prefix(format!("_INBOX_{role}"))
        .request_timeout(Some(ANSWER_WITHIN))
        .connection_timeout(ANSWER_WITHIN)
        .ping_interval(Duration::from_secs(10))
        .reconnect_delay_callback(|attempts| {
            let doubled = Duration::from_millis(50 << attempts.min(6));
            if attempts <= 1 { Duration::ZERO } else { doubled.min(RECONNECT_AT_MOST) }
        })
        .event_callback(move |event| {
            log(&event);
            match event {
                Event::Connected => gauge.set(true),
                Event::Disconnected => gauge.set(false),
                _ => {}
            }
            on_event(&event);
            async {}
        });
    Ok(options)
}

/// Whether NATS answers and no stream is behind its high-water mark.
pub async fn is_ready(client: &Client, high_water: &HighWater) -> bool {
    client.connection_state() == State::Connected
        && !high_water.is_any_behind()
        && client.flush().await.is_ok()
}

/// Reads `CHAT_SHARDS`: the number of streams that the rooms are spread over, the same for all processes.
pub fn shards_from_env(env: &mut Env<'_>) -> Option<Shards> {
    let shards = Shards::new(env.or("CHAT_SHARDS", 1));
    if shards.is_none() {
        env.fault("CHAT_SHARDS must be at least 1");
    }
    shards
}

/// A connection in the metric `chat_nats_connections`, until it is dropped.
#[derive(Debug)]
pub struct ConnectionGauge {
    is_up: AtomicBool,
}

impl ConnectionGauge {
    pub fn new(is_up: bool) -> Self {
        Self::count(is_up, 1.0);
        // Registers the other series.
        Self::count(!is_up, 0.0);
        Self { is_up: AtomicBool::new(is_up) }
    }

    pub fn set(&self, is_up: bool) {
        let was_up = self.is_up.swap(is_up, Relaxed);
        if was_up != is_up {
            Self::count(was_up, -1.0);
            Self::count(is_up, 1.0);
        }
    }

    fn count(is_up: bool, change: f64) {
        let state = if is_up { "up" } else { "down" };
        metrics::gauge!("chat_nats_connections", "state" => state).increment(change);
    }
}

impl Drop for ConnectionGauge {
    fn drop(&mut self) {
        Self::count(*self.is_up.get_mut(), -1.0);
    }
}

fn log(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => {
            metrics::counter!("chat_nats_disconnects_total").increment(1);
            tracing::warn!("lost the connection to NATS; reconnecting");
        }
        Event::SlowConsumer(subscription) => {
            metrics::counter!("chat_nats_slow_consumer_total").increment(1);
            tracing::warn!(subscription, "NATS messages were dropped for a slow subscription");
        }
        Event::ServerError(error) => tracing::error!(%error, "NATS reported an error"),
        Event::ClientError(error) => tracing::error!(%error, "the NATS client reported an error"),
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            tracing::info!(%event, "the NATS connection changed");
        }
    }
}

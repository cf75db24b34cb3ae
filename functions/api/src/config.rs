//! Configuration of the HTTP functions, from environment variables.

use std::time::Duration;

use protocol::{
    limits,
    rate::Rate,
    subject::Shards,
    token::{Lifetimes, Minter, VerificationKeys},
};
use secrecy::{ExposeSecret as _, SecretString};
use service::{
    client,
    env::Env,
    nats::{NatsConfig, shards_from_env},
    publish::{PublishBudgets, PublishLimits},
};
use store::config::{DatabaseConfig, StorageConfig};

use crate::site::Site;

/// Shorter than the time limit of a request ([`crate::layers`]), so that the request can report the cause.
const STATEMENT_SECONDS: std::ops::RangeInclusive<u64> = 1..=14;
const STATEMENT_SECONDS_DEFAULT: u64 = 10;
/// Two, because a user who types starts a search before the previous one has ended.
const SEARCHES_PER_USER: usize = 2;

/// A deleted room takes about 250 bytes for an hour in the revocation bucket of 256 MB. More than 500 users at this
/// limit would have to create and delete rooms to fill it.
const ROOMS_PER_HOUR: u32 = 1_000;

/// What a function needs besides the database and NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The object storage.
    pub storage: bool,
    /// The private key, to sign tokens.
    pub signing_key: bool,
}

impl Needs {
    /// For a process with all functions.
    pub const ALL: Self = Self { storage: true, signing_key: true };
}

/// See `infra/README.md` for the variables.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: DatabaseConfig,
    pub nats: NatsConfig,
    /// `CHAT_SHARDS`: must be the same in all processes.
    pub shards: Shards,
    /// `None` if the function uses no storage.
    pub storage: Option<StorageConfig>,
    /// `SIGNING_KEY` or `SIGNING_KEY_FILE`: Ed25519 private key, PKCS#8 PEM. `None` if the function signs no tokens.
    pub signing_key: Option<SecretString>,
    /// `VERIFICATION_KEYS` or `VERIFICATION_KEYS_FILE`: public keys of the previous and the next signing key.
    pub verification_keys: VerificationKeys,
    pub site: Site,
    /// `LIMIT_FILE_BYTES`: size limit of a file.
    pub file_bytes: u64,
    /// `ACCESS_TOKEN_SECONDS`, `TICKET_SECONDS`
    pub lifetimes: Lifetimes,
    pub limits: Limits,
    /// `LIMIT_MESSAGE_CHARS`: characters of a message. The gateway reads the same variable.
    pub message_chars: usize,
    /// `LIMIT_EXPORTS`: account exports that run at the same time. 0 for no limit.
    pub exports_at_once: usize,
    /// `LIMIT_USER_EVENT_RATE`, `LIMIT_ROOM_EVENT_RATE` and their `_BURST` variables.
    pub publish: PublishLimits,
    /// Publish budgets that a gateway in the same process shares. Otherwise they are counted in the database.
    pub shared_budgets: Option<PublishBudgets>,
    /// `LIMIT_ROOMS_PER_HOUR`: rooms that a user may create, as a rate and as a burst.
    pub new_rooms: Option<Rate>,
    /// `ARGON2_CONCURRENCY`: passwords hashed at the same time. Each takes 19 MiB and a core.
    pub hashes_at_once: usize,
    /// `DATABASE_STATEMENT_SECONDS`: time limit for a statement of a request.
    pub statement_within: Duration,
    /// `LIMIT_SEARCHES_PER_USER`: searches of one user that run at the same time. 0 for no limit.
    pub searches_per_user: usize,
    /// `DRAIN_SECONDS`: how long the process still serves after the signal to stop, while it is not ready.
    pub drain: Duration,
    /// `TRUSTED_PROXY_HOPS`: number of own proxies that append to `X-Forwarded-For`. With 0 the header is ignored.
    pub trusted_hops: usize,
}

/// Rate limits. 0 for no limit.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `LIMIT_SIGN_UPS`: sign-ups per hour and client network, counted over all instances.
    pub sign_ups_per_hour: u32,
    /// `LIMIT_NEW_PASSWORDS`: passwords that one user sets per hour, of the account and of rooms.
    pub new_passwords_per_hour: u32,
}

/// Enough for a company or a school behind one address, and too few to fill the database with accounts.
const SIGN_UPS_PER_HOUR: u32 = 300;
const NEW_PASSWORDS_PER_HOUR: u32 = 100;
/// Far more than any machine has cores.
const MAX_HASHES: usize = 4096;
/// An export buffers at most about 500 KiB.
const EXPORTS: usize = 32;
/// Load balancers, and Kubernetes' nodes, need a moment to stop sending requests to a process that is not ready.
const DRAIN_SECONDS: u64 = 5;

impl Config {
    /// Reads all variables of a process with all functions. Errors are collected in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        Self::for_function(env, Needs::ALL)
    }

    /// Reads all variables that a function needs. Errors are collected in `env`.
    pub fn for_function(env: &mut Env<'_>, needs: Needs) -> Option<Self> {
        let database = DatabaseConfig::from_env(env);
        let nats = NatsConfig::from_env(env, "functions");
        let storage =
            if needs.storage { StorageConfig::from_env(env).map(Some) } else { Some(None) };
        let signing_key = if needs.signing_key { signing_key(env).map(Some) } else { Some(None) };
        let site = Site::from_env(env);
        let statement_seconds =
            env.within("DATABASE_STATEMENT_SECONDS", STATEMENT_SECONDS, STATEMENT_SECONDS_DEFAULT);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let lifetimes = Lifetimes {
            access: env.within(
                "ACCESS_TOKEN_SECONDS",
                limits::TOKEN_SECONDS,
                limits::ACCESS_TOKEN_SECONDS,
            ),
            ticket: env.within("TICKET_SECONDS", limits::TOKEN_SECONDS, limits::TICKET_SECONDS),
        };
        let limits = Limits {
            sign_ups_per_hour: env.or("LIMIT_SIGN_UPS", SIGN_UPS_PER_HOUR),
            new_passwords_per_hour: env.or("LIMIT_NEW_PASSWORDS", NEW_PASSWORDS_PER_HOUR),
        };
        Some(Self {
            lifetimes,
            limits,
            message_chars: env.limit("LIMIT_MESSAGE_CHARS", limits::MESSAGE_CHARS),
            exports_at_once: env.or("LIMIT_EXPORTS", EXPORTS),
            file_bytes: env.within(
                "LIMIT_FILE_BYTES",
                1..=limits::SINGLE_PUT_BYTES,
                limits::SINGLE_PUT_BYTES,
            ),
            publish: PublishLimits::from_env(env),
            shared_budgets: None,
            new_rooms: {
                let an_hour = env.or("LIMIT_ROOMS_PER_HOUR", ROOMS_PER_HOUR);
                Rate::new(f64::from(an_hour) / 3_600.0, an_hour)
            },
            hashes_at_once: env.within("ARGON2_CONCURRENCY", 1..=MAX_HASHES, cores),
            statement_within: Duration::from_secs(statement_seconds),
            searches_per_user: env.or("LIMIT_SEARCHES_PER_USER", SEARCHES_PER_USER),
            drain: Duration::from_secs(env.or("DRAIN_SECONDS", DRAIN_SECONDS)),
            trusted_hops: client::trusted_hops_from_env(env),
            shards: shards_from_env(env)?,
            database: database?,
            nats: nats?,
            storage: storage?,
            signing_key: signing_key?,
            verification_keys: verification_keys(env, needs)?,
            site: site?,
        })
    }
}

fn signing_key(env: &mut Env<'_>) -> Option<SecretString> {
    let hint = "an Ed25519 private key in PEM, made by `openssl genpkey -algorithm ed25519`";
    let key = env.required_secret("SIGNING_KEY", hint)?;
    if let Err(error) = Minter::from_pem(&key) {
        env.fault(format!("SIGNING_KEY is not valid: {error}"));
    }
    Some(key)
}

/// A function without the private key verifies tokens by these keys only.
fn verification_keys(env: &mut Env<'_>, needs: Needs) -> Option<VerificationKeys> {
    const NAME: &str = "VERIFICATION_KEYS";
    let keys = if needs.signing_key {
        let Some(keys) = env.secret(NAME) else { return Some(VerificationKeys::default()) };
        keys
    } else {
        env.required_secret(NAME, "the public keys in PEM, among them that of SIGNING_KEY")?
    };
    match keys.expose_secret().parse() {
        Ok(keys) => Some(keys),
        Err(error) => {
            env.fault(format!("{NAME} is not valid: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_every_lifetime_out_of_bounds() {
        for (access, ticket) in [("0", "-1"), ("3301", "99999999999"), ("1h", "1.5")] {
            let lookup = |name: &str| match name {
                "ACCESS_TOKEN_SECONDS" => Some(access.to_owned()),
                "TICKET_SECONDS" => Some(ticket.to_owned()),
                _ => None,
            };
            let faults = Env::read(lookup, Config::from_env).unwrap_err().to_string();
            for name in ["ACCESS_TOKEN_SECONDS", "TICKET_SECONDS"] {
                assert!(faults.contains(name), "{name}: {faults}");
            }
        }
    }
}

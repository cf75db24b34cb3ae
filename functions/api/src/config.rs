//! Configuration of the functions: environment variables only.

use std::time::Duration;

use protocol::{limits, rate::Rate, subject::Shards, token::Lifetimes};
use secrecy::SecretString;
use service::{
    client,
    env::{Env, List},
    nats::{NatsConfig, shards_from_env},
    publish::{PublishBudgets, PublishLimits},
};
use store::config::{DatabaseConfig, StorageConfig};
use url::Url;

/// A statement ends before its request does ([`crate::layers`]), so that the request can say why.
const STATEMENT_SECONDS: std::ops::RangeInclusive<u64> = 1..=14;
const STATEMENT_SECONDS_DEFAULT: u64 = 10;
/// One that is typed, and the one before it that is still on its way.
const SEARCHES_PER_USER: usize = 2;

/// Made and deleted again, each leaves some 250 bytes for an hour in the 256 MB that revocations have:
/// it takes more than 500 users at this limit to fill them.
const ROOMS_PER_HOUR: u32 = 1_000;

/// Everything the HTTP functions need to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: DatabaseConfig,
    pub nats: NatsConfig,
    /// `CHAT_SHARDS`: the same for all processes.
    pub shards: Shards,
    pub storage: StorageConfig,
    /// `SIGNING_KEY` or `SIGNING_KEY_FILE`: Ed25519 private key, PKCS#8 PEM.
    pub signing_key: SecretString,
    /// `PUBLIC_URL`: where browsers find the functions.
    pub public_url: Url,
    /// `GATEWAY_URL`: where browsers find the gateways; the functions' own address by default.
    pub gateway_url: Url,
    /// `ALLOWED_ORIGINS`: pages of these origins may call the functions and upload files.
    pub origins: Vec<String>,
    /// `LIMIT_FILE_BYTES`: the largest file.
    pub file_bytes: u64,
    /// `ACCESS_TOKEN_SECONDS`, `TICKET_SECONDS`
    pub lifetimes: Lifetimes,
    pub limits: Limits,
    /// `LIMIT_MESSAGE_CHARS`: characters of a message. The same variable as the gateway's.
    pub message_chars: usize,
    /// `LIMIT_EXPORTS`: exports of accounts that run at once; 0 for any number.
    pub exports_at_once: usize,
    pub pace: Pace,
    /// `LIMIT_USER_EVENT_RATE`, `LIMIT_ROOM_EVENT_RATE` and their bursts.
    pub publish: PublishLimits,
    /// Where functions and gateway are one process, what both count; otherwise the database counts.
    pub shared_budgets: Option<PublishBudgets>,
    /// `LIMIT_ROOMS_PER_HOUR`: rooms that a user may make, all at once or one after the other.
    pub new_rooms: Option<Rate>,
    /// `ARGON2_CONCURRENCY`: passwords hashed at once; each takes 19 MiB and a core.
    pub hashes_at_once: usize,
    /// `DATABASE_STATEMENT_SECONDS`: how long a statement of a request may take.
    pub statement_within: Duration,
    /// `LIMIT_SEARCHES_PER_USER`: searches of one user that run at the same time; 0 for no limit.
    pub searches_per_user: usize,
    /// `TRUSTED_PROXY_HOPS`: how many proxies of ours write `X-Forwarded-For`; with 0 it counts for
    /// nothing.
    pub trusted_hops: usize,
}

/// How often something may be done; 0 for any number of times.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `LIMIT_SIGN_UPS`: sign-ups of one client network in an hour, in all instances together.
    pub sign_ups_per_hour: u32,
    /// `LIMIT_NEW_PASSWORDS`: passwords that one user sets in an hour, of rooms and their own.
    pub new_passwords_per_hour: u32,
}

/// How long readers may take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// `RESPONSE_STALL_SECONDS`: for the next piece. A slow reader's kernel takes some hundred KiB at once, then
    /// nothing until the reader has read those.
    pub stall: Duration,
    /// `RESPONSE_SECONDS`: for the whole.
    pub total: Duration,
}

/// A company or a school behind one address signs up in an hour, yet nobody fills the database with accounts.
const SIGN_UPS_PER_HOUR: u32 = 300;
const NEW_PASSWORDS_PER_HOUR: u32 = 100;
/// Each holds some 500 KiB at most.
const EXPORTS: usize = 32;
const STALL_SECONDS: u64 = 60;
const RESPONSE_SECONDS: u64 = 30 * 60;
const PACE_SECONDS: std::ops::RangeInclusive<u64> = 1..=24 * 3600;

impl Config {
    /// Reads everything; faults are in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let database = DatabaseConfig::from_env(env);
        let nats = NatsConfig::from_env(env, "functions");
        let storage = StorageConfig::from_env(env);
        let signing_key = env.required_secret(
            "SIGNING_KEY",
            "an Ed25519 private key in PEM, made by `openssl genpkey -algorithm ed25519`",
        );
        let public_url: Option<Url> =
            env.required("PUBLIC_URL", "where browsers find us, such as https://chat.example");
        let gateway_url: Option<Url> = env.optional("GATEWAY_URL").or_else(|| public_url.clone());
        let own = public_url.as_ref().map(|url| url.origin().ascii_serialization());
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
        let seconds = |value| Duration::from_secs(value);
        let pace = Pace {
            stall: seconds(env.within("RESPONSE_STALL_SECONDS", PACE_SECONDS, STALL_SECONDS)),
            total: seconds(env.within("RESPONSE_SECONDS", PACE_SECONDS, RESPONSE_SECONDS)),
        };
        Some(Self {
            lifetimes,
            limits,
            pace,
            message_chars: env.limit("LIMIT_MESSAGE_CHARS", limits::MESSAGE_CHARS),
            exports_at_once: env.or("LIMIT_EXPORTS", EXPORTS),
            origins: env.or("ALLOWED_ORIGINS", List(own.into_iter().collect())).0,
            file_bytes: env
                .or("LIMIT_FILE_BYTES", limits::SINGLE_PUT_BYTES)
                .min(limits::SINGLE_PUT_BYTES),
            publish: PublishLimits::from_env(env),
            shared_budgets: None,
            new_rooms: {
                let an_hour = env.or("LIMIT_ROOMS_PER_HOUR", ROOMS_PER_HOUR);
                Rate::new(f64::from(an_hour) / 3_600.0, an_hour)
            },
            hashes_at_once: env.or("ARGON2_CONCURRENCY", cores).max(1),
            statement_within: Duration::from_secs(statement_seconds),
            searches_per_user: env.or("LIMIT_SEARCHES_PER_USER", SEARCHES_PER_USER),
            trusted_hops: client::trusted_hops_from_env(env),
            shards: shards_from_env(env)?,
            database: database?,
            nats: nats?,
            storage: storage?,
            signing_key: signing_key?,
            public_url: public_url?,
            gateway_url: gateway_url?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lifetime_out_of_bounds_is_named() {
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

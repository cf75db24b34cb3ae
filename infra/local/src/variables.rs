//! The environment in which every part runs, and with which further processes join.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use service::env::{Env, List};
use url::Url;

use crate::{nats, secrets::Secrets};

/// Names and values.
pub struct Variables(BTreeMap<String, String>);

/// What only `local` knows.
pub struct Addresses<'a> {
    pub nats: &'a str,
    pub storage: SocketAddr,
    pub database: &'a str,
}

/// Where browsers find us, as far as the person who started `local` says so.
pub struct Given {
    /// `PUBLIC_URL`; the address we listen on by default.
    pub public_url: Url,
    /// `GATEWAY_URL`; `PUBLIC_URL` by default.
    pub gateway_url: Url,
    /// `ALLOWED_ORIGINS`, and always the pages of this `local` itself.
    pub origins: Vec<String>,
    /// `DRAIN_SECONDS`; 0 by default, for there is no other gateway to move to on one machine.
    pub drain_seconds: u64,
    /// Where the functions listen, for the public keys.
    own_url: Url,
}

impl Given {
    /// Reads the environment of this process.
    pub fn from_env(listen: SocketAddr) -> anyhow::Result<Self> {
        Ok(Env::of_process(|env| Self::read(env, listen))?)
    }

    fn read(env: &mut Env<'_>, listen: SocketAddr) -> Option<Self> {
        // 0.0.0.0 is an address to listen on, not one to be found at.
        let found_at = match listen.ip() {
            ip if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port()),
            _ => listen,
        };
        let own_url = Url::parse(&format!("http://{found_at}")).ok()?;
        let public_url = env.or("PUBLIC_URL", own_url.clone());
        let gateway_url = env.or("GATEWAY_URL", public_url.clone());
        let mut origins = env.or("ALLOWED_ORIGINS", List::default()).0;
        let by_name = format!("http://localhost:{}", listen.port());
        for own in [&public_url, &own_url].map(|url| url.origin().ascii_serialization()) {
            if !origins.contains(&own) {
                origins.push(own);
            }
        }
        if !origins.contains(&by_name) {
            origins.push(by_name);
        }
        let drain_seconds = env.or("DRAIN_SECONDS", 0);
        Some(Self { public_url, gateway_url, origins, drain_seconds, own_url })
    }
}

impl Variables {
    /// The variables of infra/README.md, for this machine.
    pub fn new(
        secrets: &Secrets,
        addresses: &Addresses<'_>,
        given: &Given,
    ) -> anyhow::Result<Self> {
        let Addresses { nats, storage, database } = addresses;
        let without_slash = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        let mut all: BTreeMap<String, String> = [
            ("DATABASE_URL", (*database).to_owned()),
            ("NATS_URL", (*nats).to_owned()),
            ("S3_ENDPOINT", format!("http://{storage}")),
            ("S3_BUCKET", "files".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", secrets.password("s3-key")?),
            ("AWS_SECRET_ACCESS_KEY", secrets.password("s3-secret")?),
            ("SIGNING_KEY", secrets.signing_key()?),
            ("JWKS_URL", format!("{}/.well-known/jwks.json", without_slash(&given.own_url))),
            ("PUBLIC_URL", without_slash(&given.public_url)),
            ("GATEWAY_URL", without_slash(&given.gateway_url)),
            ("ALLOWED_ORIGINS", given.origins.join(",")),
            ("DRAIN_SECONDS", given.drain_seconds.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for role in nats::ROLES.into_iter().filter(|role| *role != "sys") {
            all.insert(nats::password_variable(role), secrets.password(&format!("nats-{role}"))?);
        }
        Ok(Self(all))
    }

    /// A variable of one of the parts. `local` brings database, NATS, storage and keys itself; everything
    /// else, such as limits, is what this process was started with.
    pub fn get(&self, name: &str) -> Option<String> {
        if let Some(own) = self.0.get(name) {
            return Some(own.clone());
        }
        let of_file = name.strip_suffix("_FILE").is_some_and(|name| self.0.contains_key(name));
        if of_file || ALTERNATIVES.contains(&name) { None } else { std::env::var(name).ok() }
    }

    /// Lines for a shell: `set -a; . <data>/env`.
    pub fn to_shell(&self) -> String {
        let quote = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
        let lines = self.0.iter().map(|(name, value)| format!("export {name}={}\n", quote(value)));
        let head = "# What a further `gateway` or `functions` needs to join this `local`; holds secrets.\n";
        std::iter::once(head.to_owned()).chain(lines).collect()
    }
}

/// Other ways to say what `local` says itself. Set in the same shell for another process, they must neither
/// conflict with ours nor take their place.
const ALTERNATIVES: [&str; 7] = [
    "AWS_SESSION_TOKEN",
    "JWKS",
    "JWKS_FILE",
    "NATS_CREDS",
    "NATS_PASSWORD",
    "NATS_PASSWORD_FILE",
    "NATS_USER",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn given(listen: &str, variables: &[(&str, &str)]) -> Given {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Env::read(lookup, |env| Given::read(env, listen.parse().unwrap())).unwrap()
    }

    #[test]
    fn own_pages_are_always_allowed_beside_those_of_the_environment() {
        let alone = given("0.0.0.0:8080", &[]);
        assert_eq!(alone.origins, ["http://127.0.0.1:8080", "http://localhost:8080"]);
        assert_eq!(alone.public_url.as_str(), "http://127.0.0.1:8080/");
        let named = given(
            "127.0.0.1:8080",
            &[
                ("PUBLIC_URL", "https://chat.example"),
                ("ALLOWED_ORIGINS", "https://shop.example, http://localhost:8080"),
                ("DRAIN_SECONDS", "7"),
            ],
        );
        let origins = [
            "https://shop.example",
            "http://localhost:8080",
            "https://chat.example",
            "http://127.0.0.1:8080",
        ];
        assert_eq!(named.origins, origins);
        assert_eq!((named.gateway_url, named.drain_seconds), (named.public_url, 7));
    }
}

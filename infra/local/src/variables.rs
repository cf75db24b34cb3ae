//! The environment in which every part runs, and with which further processes join.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{nats, secrets::Secrets};

/// Names and values.
pub struct Variables(BTreeMap<String, String>);

/// What only `local` knows.
pub struct Addresses<'a> {
    pub public: SocketAddr,
    pub nats: &'a str,
    pub storage: SocketAddr,
    pub database: &'a str,
}

impl Variables {
    /// The variables of infra/README.md, for this machine.
    pub fn new(secrets: &Secrets, addresses: &Addresses<'_>) -> anyhow::Result<Self> {
        let Addresses { public, nats, storage, database } = addresses;
        let url = format!("http://{public}");
        let other = format!("http://localhost:{}", public.port());
        let mut all: BTreeMap<String, String> = [
            ("DATABASE_URL", (*database).to_owned()),
            ("NATS_URL", (*nats).to_owned()),
            ("S3_ENDPOINT", format!("http://{storage}")),
            ("S3_BUCKET", "files".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", secrets.password("s3-key")?),
            ("AWS_SECRET_ACCESS_KEY", secrets.password("s3-secret")?),
            ("SIGNING_KEY", secrets.signing_key()?),
            ("JWKS_URL", format!("{url}/.well-known/jwks.json")),
            ("PUBLIC_URL", url.clone()),
            ("ALLOWED_ORIGINS", format!("{url},{other}")),
            // Nobody can move to another gateway on one machine.
            ("DRAIN_SECONDS", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for role in nats::ROLES.into_iter().filter(|role| *role != "sys") {
            all.insert(nats::password_variable(role), secrets.password(&format!("nats-{role}"))?);
        }
        Ok(Self(all))
    }

    /// A variable. What this process was started with counts for limits and the like, so that they
    /// can be tried out.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned().or_else(|| std::env::var(name).ok())
    }

    /// Lines for a shell: `set -a; . <data>/env`.
    pub fn to_shell(&self) -> String {
        let quote = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
        let lines = self.0.iter().map(|(name, value)| format!("export {name}={}\n", quote(value)));
        let head = "# What a further `gateway` or `functions` needs to join this `local`; holds secrets.\n";
        std::iter::once(head.to_owned()).chain(lines).collect()
    }
}

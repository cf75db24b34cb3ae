//! The configuration of all parts.

use std::net::SocketAddr;

use service::{env::Env, serve};

use crate::{
    nats, secrets,
    services::{S3Key, Services},
    settings::{self, Settings},
    variables::Variables,
};

/// The configuration of every part of this process.
pub struct Configuration {
    pub provision: provision::Config,
    pub archive: archive::Config,
    pub gateway: gateway::Config,
    pub functions: api::Config,
    pub limits: serve::Limits,
}

impl Configuration {
    /// Reads all parts before the first `None` is returned, so that all faults are reported together.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let provision = provision::Config::from_env(env);
        let archive = archive::Config::from_env(env);
        let gateway = gateway::Config::from_env(env);
        let functions = api::Config::from_env(env);
        let limits = serve::Limits::from_env(env);
        Some(Self {
            provision: provision?,
            archive: archive?,
            gateway: gateway?,
            functions: functions?,
            limits,
        })
    }
}

/// Reads everything that an operator may set, before any part is started. Faults are recorded in `env`.
pub fn check(env: &mut Env<'_>, listen: SocketAddr) -> Option<()> {
    let settings = Settings::read(env, listen)?;
    let variables = Variables::new(placeholder(&settings)?, &settings);
    match Env::read(|name| variables.get(name), Configuration::from_env) {
        Ok(_) => Some(()),
        Err(faults) => {
            faults.into_iter().for_each(|fault| env.fault(fault));
            None
        }
    }
}

/// Valid values of the variables that `local` sets itself. Nothing is started.
fn placeholder(settings: &Settings) -> Option<Services> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let password = || "placeholder".to_owned();
    Some(Services {
        database_url: "sqlite://chat.db".to_owned(),
        nats_url: format!("nats://{nowhere}"),
        nats_passwords: nats::ROLES.map(|role| (role, password())).into(),
        s3_address: nowhere,
        s3_key: S3Key { id: password(), secret: password() },
        signing_key: secrets::generate_key().ok()?,
        functions_url: settings::without_slash(&settings.functions_url),
    })
}

//! The environment variables of all parts, which is also written to a file for further processes.

use std::collections::BTreeMap;

use crate::{
    services::Services,
    settings::{Settings, without_slash},
};

/// Variables that name the same setting as one that `local` sets. They may be set in the shell for another process, and
/// must neither conflict with the variables of `local` nor override them.
const IGNORED: [&str; 7] = [
    "AWS_SESSION_TOKEN",
    "JWKS",
    "JWKS_FILE",
    "NATS_CREDS",
    "NATS_PASSWORD",
    "NATS_PASSWORD_FILE",
    "NATS_USER",
];

/// Values by name.
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    pub fn new(services: Services, settings: &Settings) -> Self {
        let mut variables = services.into_variables();
        let settings = [
            ("PUBLIC_URL", without_slash(&settings.public_url)),
            ("GATEWAY_URL", without_slash(&settings.gateway_url)),
            ("ALLOWED_ORIGINS", settings.allowed_origins.join(",")),
            ("DRAIN_SECONDS", settings.drain_seconds.to_string()),
        ];
        variables.extend(settings.map(|(name, value)| (name.to_owned(), value)));
        Self(variables)
    }

    /// Reads what [`Self::to_shell`] wrote.
    pub fn from_shell(text: &str) -> Self {
        let exports = text.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
            let value = value.strip_prefix('\'')?.strip_suffix('\'')?.replace(r"'\''", "'");
            Some((name.to_owned(), value))
        });
        Self(exports.collect())
    }

    /// A variable as the parts read it. Those that `local` does not set, such as limits, come from its own environment.
    pub fn get(&self, name: &str) -> Option<String> {
        if let Some(value) = self.0.get(name) {
            return Some(value.clone());
        }
        let is_file_of_own =
            name.strip_suffix("_FILE").is_some_and(|name| self.0.contains_key(name));
        if is_file_of_own || IGNORED.contains(&name) { None } else { std::env::var(name).ok() }
    }

    /// Shell commands that export the variables: `set -a; . <data>/env`.
    pub fn to_shell(&self) -> String {
        let quote = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
        let exports =
            self.0.iter().map(|(name, value)| format!("export {name}={}\n", quote(value)));
        let header = "# Environment of a further `gateway` or `functions` that joins this `local`. Contains secrets.\n";
        std::iter::once(header.to_owned()).chain(exports).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_format_is_read_back() {
        let values = [("PLAIN", "nats://127.0.0.1:4222"), ("QUOTED", "it's = 'quoted'")];
        let variables = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables = Variables(variables.into());
        assert_eq!(Variables::from_shell(&variables.to_shell()).0, variables.0);
    }
}

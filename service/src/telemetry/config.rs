//! Configuration of logs, metrics and traces.

use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

use crate::{env::Env, trace};

/// Configuration of logs, metrics and traces. Values that are not set have defaults.
#[derive(Debug, Clone, Default)]
pub struct TelemetryConfig {
    /// `RUST_LOG`: the filter of the log, a valid one.
    pub(super) filter: Option<String>,
    /// `LOG_FORMAT`: `text` or `json`. By default `text` on a terminal and otherwise `json`.
    pub(super) format: Option<Format>,
    /// `METRICS_LISTEN`: the address of `GET /metrics`. Without it, there are no metrics.
    pub(super) metrics_listen: Option<SocketAddr>,
    /// None if no traces are exported.
    pub(super) traces: Option<trace::Settings>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl TelemetryConfig {
    pub fn from_env(env: &mut Env<'_>) -> Self {
        let filter: Option<String> = env.optional("RUST_LOG");
        if let Some(Err(error)) = filter.as_deref().map(str::parse::<EnvFilter>) {
            env.fault(format!("RUST_LOG is not valid: {error}"));
        }
        let format: Option<String> = env.optional("LOG_FORMAT");
        let format = match format.as_deref() {
            None => None,
            Some("text") => Some(Format::Text),
            Some("json") => Some(Format::Json),
            Some(_) => {
                env.fault("LOG_FORMAT must be text or json");
                None
            }
        };
        let (metrics_listen, traces) =
            (env.optional("METRICS_LISTEN"), trace::Settings::from_env(env));
        Self { filter, format, metrics_listen, traces }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(filter: &str, format: &str, listen: &str) -> Result<TelemetryConfig, String> {
        let lookup = |name: &str| {
            let value = match name {
                "RUST_LOG" => filter,
                "LOG_FORMAT" => format,
                "METRICS_LISTEN" => listen,
                _ => return None,
            };
            Some(value.to_owned())
        };
        Env::read(lookup, |env| Some(TelemetryConfig::from_env(env)))
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn every_fault_is_reported() {
        let faults = read("info,store=loud", "xml", "9090").unwrap_err();
        for name in ["RUST_LOG is not valid", "LOG_FORMAT must be", "METRICS_LISTEN is not valid"] {
            assert!(faults.contains(name), "{faults}");
        }
        let config = read("warn,store=debug", "text", "127.0.0.1:9090").unwrap();
        assert_eq!(config.format, Some(Format::Text));
        assert!(read("", "", "").unwrap().filter.is_none());
    }
}

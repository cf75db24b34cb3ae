//! The names of all variables, to notice misspelt ones: a variable that no process reads has no effect, and its default
//! applies silently.

use std::fmt;

/// The variables of all processes, because one environment may serve several. A test compares them with the table in
/// infra/README.md.
const NAMES: &[&str] = &[
    "ACCESS_TOKEN_SECONDS",
    "ALLOWED_ORIGINS",
    "ARCHIVE_PASS_SECONDS",
    "ARGON2_CONCURRENCY",
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "CHAT_SHARDS",
    "CONFORMANCE_ECHO",
    "DATABASE_AUTH",
    "DATABASE_CA",
    "DATABASE_CONNECTIONS",
    "DATABASE_POOLER",
    "DATABASE_STATEMENT_SECONDS",
    "DATABASE_URL",
    "DRAIN_SECONDS",
    "GATEWAY_THREADS",
    "GATEWAY_URL",
    "JWKS",
    "JWKS_URL",
    "LIMIT_CONNECTIONS",
    "LIMIT_CONNECTIONS_PER_ADDRESS",
    "LIMIT_EVENT_BURST",
    "LIMIT_EVENT_RATE",
    "LIMIT_EXPORTS",
    "LIMIT_FILE_BYTES",
    "LIMIT_FRAME_BYTES",
    "LIMIT_HANDSHAKE_SECONDS",
    "LIMIT_MESSAGE_CHARS",
    "LIMIT_NEW_PASSWORDS",
    "LIMIT_ROOMS_PER_HOUR",
    "LIMIT_ROOMS_PER_SOCKET",
    "LIMIT_ROOM_EVENT_BURST",
    "LIMIT_ROOM_EVENT_RATE",
    "LIMIT_SEARCHES_PER_USER",
    "LIMIT_SIGN_UPS",
    "LIMIT_SOCKETS_PER_ADDRESS",
    "LIMIT_SOCKETS_PER_USER",
    "LIMIT_USER_EVENT_BURST",
    "LIMIT_USER_EVENT_RATE",
    "LOG_FORMAT",
    "MEMORY_BUDGET_BYTES",
    "METRICS_LISTEN",
    "NATS_CA",
    "NATS_CERT",
    "NATS_CREDS",
    "NATS_KEY",
    "NATS_PASSWORD",
    "NATS_REPLICAS",
    "NATS_URL",
    "NATS_USER",
    "PING_INTERVAL_SECONDS",
    "PING_TIMEOUT_SECONDS",
    "PUBLIC_URL",
    "REPLAY_WINDOW_SECONDS",
    "RESPONSE_SECONDS",
    "RESPONSE_STALL_SECONDS",
    "REVOCATIONS_UNSEEN_SECONDS",
    "RUST_LOG",
    "S3_BUCKET",
    "S3_ENDPOINT",
    "S3_PUBLIC_ENDPOINT",
    "SIGNING_KEY",
    "STREAM_MAX_BYTES",
    "TICKET_SECONDS",
    "TRUSTED_PROXY_HOPS",
    "VERIFICATION_KEYS",
];

/// Variables that are in the environment of a process, but are read elsewhere: by nats-server, by compose, by `local`
/// to find nats-server, and roles' passwords.
const OTHER_NAMES: &[&str] = &[
    "CHAT_BIND",
    "CHAT_HOST",
    "CHAT_PORT",
    "CHAT_S3_PORT",
    "LISTEN",
    "NATS_ARCHIVE_PASSWORD",
    "NATS_FUNCTIONS_PASSWORD",
    "NATS_GATEWAY_PASSWORD",
    "NATS_PROVISION_PASSWORD",
    "NATS_SERVER",
    "NATS_SYS_PASSWORD",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
];

/// Variables that begin so belong to this system.
const PREFIXES: &[&str] = &[
    "ACCESS_TOKEN_",
    "ARCHIVE_",
    "ARGON2_",
    "CHAT_",
    "DATABASE_",
    "GATEWAY_",
    "JWKS",
    "LIMIT_",
    "METRICS_",
    "NATS_",
    "REPLAY_WINDOW_",
    "RESPONSE_",
    "REVOCATIONS_",
    "S3_",
    "SIGNING_KEY",
    "STREAM_MAX_",
    "TICKET_",
    "TRUSTED_PROXY_",
    "VERIFICATION_KEYS",
];

/// Suffixes of a variable that says where the value is.
const INDIRECT: &[&str] = &["_ARN", "_FILE"];

/// A variable that no process reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVariable {
    name: String,
    nearest: Option<&'static str>,
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no process reads the variable {}", self.name)?;
        match self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// Variables of the process's environment that seem to be meant for this system, but that no process reads.
pub fn unknown_variables() -> Vec<UnknownVariable> {
    unknown_among(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}

/// Variables of this system whose values are not UTF-8.
pub(super) fn not_utf8() -> impl Iterator<Item = &'static str> {
    NAMES
        .iter()
        .copied()
        .filter(|name| std::env::var_os(name).is_some_and(|value| value.into_string().is_err()))
}

fn unknown_among(names: impl Iterator<Item = String>) -> Vec<UnknownVariable> {
    let mut unknown: Vec<UnknownVariable> = names.filter_map(judge).collect();
    unknown.sort_by(|one, other| one.name.cmp(&other.name));
    unknown
}

fn known() -> impl Iterator<Item = &'static str> {
    NAMES.iter().chain(OTHER_NAMES).copied()
}

fn judge(name: String) -> Option<UnknownVariable> {
    let direct = INDIRECT.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
    if known().any(|known| known == direct) || is_from_kubernetes(&name) {
        return None;
    }
    let upper = direct.to_uppercase();
    let distances = known().map(|known| (strsim::osa_distance(known, &upper), known));
    let (distance, nearest) = distances.min()?;
    // Two edits in a short name make another word.
    let is_near = distance <= if nearest.len() < 10 { 1 } else { 2 };
    let is_ours = PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    let is_meant_for_us = if nearest.len() < 6 { is_ours } else { is_ours || is_near };
    let is_similar = distance <= nearest.len() / 3;
    is_meant_for_us.then(|| UnknownVariable { name, nearest: is_similar.then_some(nearest) })
}

/// Whether Kubernetes sets the variable for a Service, such as `NATS_PORT_4222_TCP_ADDR`.
fn is_from_kubernetes(name: &str) -> bool {
    let has_number = |(_, rest): (&str, &str)| rest.starts_with(|c: char| c.is_ascii_digit());
    name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(has_number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn messages(names: &[&str]) -> Vec<String> {
        let unknown = unknown_among(names.iter().map(|name| (*name).to_owned()));
        unknown.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_misspelt_variable_is_named_with_the_nearest_one() {
        for (wrong, right) in [
            ("LIMIT_MESSAGES_CHARS", "LIMIT_MESSAGE_CHARS"),
            ("LIMIT_FLIE_BYTES", "LIMIT_FILE_BYTES"),
            ("nats_url", "NATS_URL"),
            ("NATS_URLS_FILE", "NATS_URL"),
            ("PUBLIC_URI", "PUBLIC_URL"),
            ("DRAIN_SECOND", "DRAIN_SECONDS"),
            ("ALOWED_ORIGIN", "ALLOWED_ORIGINS"),
            ("JWKS_URI", "JWKS_URL"),
        ] {
            let expected = format!("no process reads the variable {wrong}; did you mean {right}?");
            assert_eq!(messages(&[wrong]), [expected]);
        }
        assert_eq!(
            messages(&["S3_SOMETHING_ELSE"]),
            ["no process reads the variable S3_SOMETHING_ELSE"]
        );
    }

    #[test]
    fn known_and_foreign_variables_are_silent() {
        let foreign = [
            "PATH",
            "HOME",
            "LANG",
            "HOSTNAME",
            "RUST_BACKTRACE",
            "OTEL_SERVICE_NAME",
            "AWS_LAMBDA_RUNTIME_API",
            "POSTGRES_PASSWORD",
            "NATS_PORT",
            "NATS_PORT_4222_TCP_ADDR",
            "GATEWAY_SERVICE_HOST",
            "GATEWAY_SERVICE_PORT_HTTP",
            "LOGNAME",
            "SIGNING_KEY_FILE",
        ];
        assert_eq!(messages(&foreign), [""; 0]);
        assert_eq!(messages(&known().collect::<Vec<_>>()), [""; 0]);
    }

    #[test]
    fn the_names_are_those_of_the_documentation() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/README.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, section) = text.split_once("\n## Configuration\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let name = regex::Regex::new("`([A-Z][A-Z0-9_]+)`").unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let first_cells = rows.filter_map(|row| row.split(" | ").next());
        let documented: BTreeSet<&str> = first_cells
            .flat_map(|cell| name.captures_iter(cell).map(|found| found.get(1).unwrap().as_str()))
            .collect();
        assert_eq!(documented, NAMES.iter().copied().collect());
    }
}

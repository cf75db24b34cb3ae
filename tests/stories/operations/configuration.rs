//! `--version`, `--check-config`, and faults of the environment at the start of a process.

use std::{
    collections::BTreeMap,
    process::{Output, Stdio},
};

use local::secrets;
use stories::binary;
use tokio::process::Command;

const PROCESSES: [&str; 4] = ["functions", "gateway", "archive", "provision"];

/// A valid environment of all processes. Nothing listens at its addresses.
fn environment() -> BTreeMap<&'static str, String> {
    let nowhere = |scheme: &str| format!("{scheme}://127.0.0.1:1");
    BTreeMap::from([
        (
            "DATABASE_URL",
            "postgres://chat:the-password-of-the-database@127.0.0.1:1/chat".to_owned(),
        ),
        ("NATS_URL", nowhere("nats")),
        ("JWKS_URL", nowhere("http")),
        ("S3_ENDPOINT", nowhere("http")),
        ("S3_BUCKET", "files".to_owned()),
        ("PUBLIC_URL", nowhere("http")),
        ("SIGNING_KEY", secrets::generate_key().unwrap()),
    ])
}

/// Runs a process until it exits. Returns its standard error too.
async fn run(
    name: &str,
    argument: Option<&str>,
    environment: &BTreeMap<&str, String>,
) -> (Output, String) {
    let mut command = Command::new(binary(name));
    command.args(argument).env_clear().envs(environment).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incomplete_environment_is_reported_as_a_whole() {
    for (name, variables) in [
        (
            "functions",
            ["DATABASE_URL", "NATS_URL", "S3_BUCKET", "SIGNING_KEY", "PUBLIC_URL"].as_slice(),
        ),
        ("gateway", &["NATS_URL", "JWKS_URL"]),
        ("archive", &["DATABASE_URL", "NATS_URL", "S3_BUCKET"]),
        ("provision", &["DATABASE_URL", "NATS_URL", "S3_BUCKET"]),
    ] {
        let (output, text) = run(name, None, &BTreeMap::new()).await;
        assert!(!output.status.success());
        for variable in variables {
            assert!(text.contains(variable), "{name} does not name {variable}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_reports_its_version() {
    for name in PROCESSES.into_iter().chain(["local"]) {
        let (output, _) = run(name, Some("--version"), &BTreeMap::new()).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = format!("{name} {} (", env!("CARGO_PKG_VERSION"));
        assert!(output.status.success() && text.starts_with(&expected), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_valid_environment_is_accepted_without_any_connection() {
    for name in PROCESSES.into_iter().chain(["local"]) {
        let (output, text) = run(name, Some("--check-config"), &environment()).await;
        assert!(output.status.success() && text.is_empty(), "{name}: {text}");
    }
}

/// A fault of every kind.
const FAULTS: [(&str, &str); 17] = [
    ("DATABASE_URL", "mysql://chat:the-password-of-the-database@db/chat"),
    ("NATS_URL", "nats://one:4222, http://two:4222"),
    ("JWKS_URL", "functions:8080"),
    ("S3_ENDPOINT", "s3://files"),
    ("PUBLIC_URL", "chat.example"),
    ("SIGNING_KEY", "the-signing-key-that-is-none"),
    ("VERIFICATION_KEYS", "no key either"),
    ("LIMIT_FILE_BYTES", "99999999999"),
    ("LIMIT_FRAME_BYTES", "99999999999"),
    ("GATEWAY_THREADS", "0"),
    ("ARGON2_CONCURRENCY", "0"),
    ("NATS_REPLICAS", "2"),
    ("STREAM_MAX_BYTES", "-1"),
    ("RUST_LOG", "store=loud"),
    ("LOG_FORMAT", "xml"),
    ("METRICS_LISTEN", "9090"),
    ("DRAIN_SECONDS", "a while"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_environment_is_in_one_message() {
    let mut faulty = environment();
    faulty.extend(FAULTS.map(|(name, value)| (name, value.to_owned())));
    let of_all = ["RUST_LOG", "LOG_FORMAT", "METRICS_LISTEN"];
    for (name, faulty_for_it) in [
        (
            "functions",
            [
                "DATABASE_URL",
                "NATS_URL",
                "S3_ENDPOINT",
                "PUBLIC_URL",
                "SIGNING_KEY",
                "VERIFICATION_KEYS",
                "LIMIT_FILE_BYTES",
                "ARGON2_CONCURRENCY",
                "DRAIN_SECONDS",
            ]
            .as_slice(),
        ),
        (
            "gateway",
            &["NATS_URL", "JWKS_URL", "GATEWAY_THREADS", "LIMIT_FRAME_BYTES", "DRAIN_SECONDS"],
        ),
        ("archive", &["DATABASE_URL", "NATS_URL", "S3_ENDPOINT"]),
        (
            "provision",
            &["DATABASE_URL", "NATS_URL", "S3_ENDPOINT", "NATS_REPLICAS", "STREAM_MAX_BYTES"],
        ),
        (
            "local",
            &[
                "PUBLIC_URL",
                "VERIFICATION_KEYS",
                "LIMIT_FILE_BYTES",
                "LIMIT_FRAME_BYTES",
                "GATEWAY_THREADS",
                "ARGON2_CONCURRENCY",
                "NATS_REPLICAS",
                "STREAM_MAX_BYTES",
                "DRAIN_SECONDS",
            ],
        ),
    ] {
        // At the start as well, before anything is connected.
        for argument in [Some("--check-config"), None] {
            let (output, text) = run(name, argument, &faulty).await;
            assert_eq!(output.status.code(), Some(1), "{name}: {text}");
            let lines: Vec<&str> =
                text.lines().filter_map(|line| line.strip_prefix("  - ")).collect();
            for variable in faulty_for_it.iter().chain(&of_all) {
                let count = lines.iter().filter(|line| line.starts_with(variable)).count();
                assert_eq!(count, 1, "{name}: {variable} in {text}");
            }
            assert_eq!(lines.len(), faulty_for_it.len() + of_all.len(), "{name}: {text}");
            for secret in ["the-password-of-the-database", "the-signing-key-that-is-none"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_misspelt_variable_is_a_warning() {
    let mut misspelt = environment();
    misspelt.insert("LIMIT_MESSAGES_CHARS", "10".to_owned());
    let warning =
        "no process reads the variable LIMIT_MESSAGES_CHARS; did you mean LIMIT_MESSAGE_CHARS?";
    for name in PROCESSES.into_iter().chain(["local"]) {
        let (output, text) = run(name, Some("--check-config"), &misspelt).await;
        assert!(output.status.success(), "{name}: {text}");
        assert_eq!(text.trim_end(), format!("warning: {warning}"), "{name}");
    }
    // At the start it is logged. The process then fails, because nothing listens at its addresses.
    let (_, text) = run("provision", None, &misspelt).await;
    assert!(text.contains(warning), "{text}");
}

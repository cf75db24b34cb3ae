//! Operations: processes, logs, metrics, traces, outages, crashes, recovery and NATS permissions.

mod aws;
mod certificates;
mod chatctl;
mod cluster;
mod compose;
mod configuration;
mod crashes;
mod key_rotation;
mod lambda;
mod metrics_and_logs;
mod monitoring;
mod nats_roles;
mod one_box;
mod outages;
mod processes;
mod recovery;
mod secrets_in_logs;
mod traces;
mod traffic;

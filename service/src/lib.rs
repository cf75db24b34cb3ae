//! Code that all processes share: configuration from the environment, telemetry, the HTTP server with graceful
//! shutdown, and NATS with the room log. It has no HTTP routes and no rules of the chat.

pub mod admission;
pub mod bucket;
pub mod check_config;
pub mod client;
pub mod cors;
pub mod direct;
pub mod env;
pub mod healthcheck;
pub mod high_water;
mod log_error;
pub mod metric;
pub mod nats;
pub mod presence;
pub mod publish;
pub mod roomlog;
pub mod serve;
pub mod stream;
pub mod telemetry;
pub mod time;
pub mod trace;
pub mod version;

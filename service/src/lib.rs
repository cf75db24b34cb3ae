//! What every process of ours shares: configuration from the environment, telemetry, serving until
//! a signal, and the room log on NATS. No HTTP route and no rule of the chat lives here.

pub mod admission;
pub mod bucket;
pub mod client;
pub mod cors;
pub mod direct;
pub mod env;
pub mod high_water;
pub mod log_error;
pub mod nats;
pub mod presence;
pub mod publish;
pub mod roomlog;
pub mod serve;
pub mod stream;
pub mod telemetry;
pub mod time;
pub mod trace;

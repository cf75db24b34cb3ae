//! Delivery across failures of NATS and across purges of the stream.

mod nats_disconnect;
mod outbox;
mod replay_after_purge;

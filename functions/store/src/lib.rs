//! What the functions share: database, outbox, object storage, password hashing, and the limits that are
//! counted in the database. It knows no HTTP: failures are [`StoreError`]s, and only the crate `api` maps
//! them to statuses.

pub mod account_deletion;
pub mod accounts;
pub mod budget;
pub mod config;
pub mod db;
mod error;
pub mod fold;
pub mod hash_queue;
pub mod members;
pub mod outbox;
pub mod password;
pub mod rate_limit;
pub mod rooms;
pub mod searches;
pub mod sent;
pub mod storage;
pub mod stream_log;
pub mod throttle;

pub use self::error::StoreError;

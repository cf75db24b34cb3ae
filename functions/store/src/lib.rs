//! What the functions share: database, outbox, object storage, password hashing, and the limits that are
//! counted in the database. It knows no HTTP: failures are [`StoreError`]s, and only the crate `api` maps
//! them to statuses.

pub mod account_deletion;
pub mod accounts;
pub mod budget;
pub mod config;
pub mod db;
pub mod earlier_send;
mod error;
pub mod fold;
pub mod hash_queue;
pub mod members;
pub mod outbox;
pub mod password;
pub mod rate_limit;
pub mod rooms;
pub mod searches;
pub mod storage;
pub mod stream_log;
pub mod throttle;
mod transaction;

pub use self::{
    error::{
        HashingBusy, SearchRefused, StorageUnavailable, StoreError, Throttled, TooManyNewRooms,
    },
    transaction::{Store, Transaction},
};

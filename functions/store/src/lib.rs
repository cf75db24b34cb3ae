//! Shared by the functions: database, transactional outbox, object storage, password hashing, and limits that are
//! counted in the database. Independent of HTTP: failures are [`StoreError`]s, which only the crate `api` maps to
//! statuses.

pub mod account_deletion;
pub mod accounts;
pub mod admin;
pub mod aws;
pub mod bans;
pub mod config;
pub mod db;
mod error;
pub mod hash_queue;
pub mod members;
pub mod message_lookup;
pub mod outbox;
pub mod password;
pub mod pause;
pub mod publish_budgets;
pub mod rate_limit;
pub mod refold;
pub mod room_deletion;
pub mod search_limiter;
pub mod search_text;
pub mod sessions;
pub mod sqlite_copy;
pub mod storage;
pub mod stream_log;
pub mod throttle;
mod transaction;
pub mod uploads;

pub use self::{
    error::{
        HashingBusy, SearchRefused, StorageUnavailable, StoreError, Throttled, TooManyNewRooms,
        UploadRefused,
    },
    transaction::{Store, Transaction},
};

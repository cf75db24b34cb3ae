//! The compose files in real containers: `make compose-test` builds the images, starts each set of services and runs
//! one of these tests against it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue fails")]

mod cluster;
mod compose;
mod storage_rights;
mod system;

//! Integration tests ("stories") against real services, grouped by feature. Most run on both databases.
#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod abuse;
mod accounts;
mod archive;
mod chat;
mod clients;
mod database;
mod delivery;
mod documents;
mod files;
mod gateway;
mod members;
mod messages;
mod operations;
mod rooms;

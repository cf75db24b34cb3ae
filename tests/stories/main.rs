//! Stories: what the contract promises, told against real services. Each runs on both databases.
#![expect(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod abuse;
mod account_end;
mod accounts;
mod archived;
mod bad_events;
mod bad_requests;
mod changes;
mod chat;
mod clients;
mod cut_off;
mod docs;
mod events;
mod files;
mod gateways;
mod history;
mod hostile_wire;
mod killed;
mod lambda;
mod limits;
mod members;
mod membership;
mod nats_roles;
mod observed;
mod openapi;
mod plans;
mod presence;
mod processes;
mod protocol;
mod purged;
mod races;
mod revocations;
mod rooms;
mod secrets;
mod sessions;
mod throttle;

//! Membership of rooms: access, roles, bans and revocations.

mod access_and_roles;
mod bans;
mod revocations;
mod versions;

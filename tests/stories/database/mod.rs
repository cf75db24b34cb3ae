//! The database: concurrent requests, locks, statement limits and query plans.

mod concurrent_requests;
mod lock_races;
mod plans;
mod statement_limits;

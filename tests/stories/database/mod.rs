//! The database: concurrent requests, locks, statement limits and query plans.

mod api_walk;
mod concurrent_requests;
mod lock_races;
mod plans;
mod pooler;
mod schemas;
mod statement_limits;
mod statements;

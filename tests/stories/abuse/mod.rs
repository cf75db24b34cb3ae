//! Hostile clients: malformed input, floods, and what one client may cost the others.

mod bad_events;
mod bad_requests;
mod connection_limits;
mod hostile_client;
mod hostile_connections;
mod hostile_packets;
mod invalid_frames;
mod local_publish_budget;
mod publish_budgets;
mod slow_readers;

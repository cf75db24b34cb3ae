//! Stored messages: history, edits, search and retries.

mod edits_and_search;
mod history;
mod retries;

//! Stored messages: history, edits, search and retries.

mod duplicates;
mod edits_and_search;
mod history;
mod id_spelling;
mod retries;
mod text;

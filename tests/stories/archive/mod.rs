//! The archive function: it moves events from the stream into the database and purges the stream.

mod dead_letters;
mod full_stream;
mod progress;
mod purge_and_sweep;

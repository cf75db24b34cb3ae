//! `local backup` and `local restore`.
//!
//! A backup holds the database and the uploaded files. It does not hold NATS's data, because it is made in this order:
//!
//! 1. Wait until every event that NATS has acknowledged is in the database.
//! 2. Copy the database, in the state of one moment. A message is stored after its file is complete, so the copy knows
//!    the file of every message in it.
//! 3. Copy the files that the copied database knows. They never change after their upload.
//!
//! After a restore, NATS begins empty, with sequences above all that were given before the backup or after it
//! (`provision` leaves a gap). Its old streams would give the same sequences again.
//!
//! Secrets are not in a backup: they are passwords between parts of one process, and the key of tokens that live for
//! minutes. New ones are made after a restore, so a token of a session that was ended since then is refused, and who
//! reads a backup cannot sign tokens.

mod copy;
mod create;
mod manifest;
mod restore;
mod source;

pub use self::{create::create, restore::restore};

/// What a backup holds, or what was restored from it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The number of files, including the database.
    pub files: usize,
    pub bytes: u64,
    /// Objects that were deleted while the backup was made.
    pub missing: usize,
}

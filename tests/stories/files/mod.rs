//! Files: upload, download and the removal of objects that nothing refers to.

mod cleanup;
mod types;
mod upload;

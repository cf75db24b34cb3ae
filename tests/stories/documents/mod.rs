//! The published documents agree with the code.

mod compression;
mod readme_and_api_documents;
mod schemathesis;

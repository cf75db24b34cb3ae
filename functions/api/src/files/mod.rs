//! Files. A client declares a file, uploads it directly to the object storage, and completes it here, where the upload
//! is checked.

mod complete;
mod content_disposition;
mod deletion;
mod download;
mod file_row;
mod media_type;
#[cfg(test)]
mod schema_tests;
mod upload;

use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::file_row::find;
use crate::state::AppState;

/// `/room/{name}/file`, `/file/{id}` and `/file/{id}/complete`.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(upload::declare))
        .routes(routes!(complete::complete))
        .routes(routes!(download::download))
}

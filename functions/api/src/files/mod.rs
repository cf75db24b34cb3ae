//! Files: declared here, uploaded to the storage by the browser, checked here.

mod complete;
mod deletion;
mod download;
mod file_name;
mod file_row;
mod media_type;
#[cfg(test)]
mod schema_tests;
mod sniffing;
mod upload;

use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::file_row::find;
use crate::state::AppState;

/// `/room/{name}/file` and `/file`.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(upload::declare))
        .routes(routes!(complete::complete))
        .routes(routes!(download::download))
}

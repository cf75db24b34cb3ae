//! Rooms: creating, entering, listing, changing and deleting them.

mod create;
mod delete;
mod enter;
mod list;
mod update;
mod view;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// `/room` and `/room/{name}`.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create::create, list::list)).routes(routes!(
        enter::enter,
        update::update,
        delete::delete
    ))
}

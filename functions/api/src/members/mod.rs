//! Members of a room: joining, listing, changing roles, removing and banning.

pub mod access;
mod join;
pub mod join_grant;
mod list;
mod remove;
mod role;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// `/room/{name}/member` and below.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list::list, join::join))
        .routes(routes!(role::change_role, remove::remove))
}

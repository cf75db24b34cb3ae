//! Messages of a room: sending, history, search, broadcast.

mod broadcast;
mod history;
mod reactions;
mod search;
mod send;
mod unarchived;
mod view;

use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::view::{DeletedAuthors, parse_file};
use crate::state::AppState;

/// `/room/{name}/message`, `/room/{name}/message/search` and `/room/{name}/broadcast`.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(broadcast::broadcast))
        .routes(routes!(send::send, history::history))
        .routes(routes!(search::search))
}

//! Rooms: made, entered, listed, deleted; their members and messages.

mod broadcast;
mod delete;
mod enter;
mod history;
mod list;
mod member;
mod message;
mod room;

use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::room::{Membership, membership};
use crate::state::State;

/// `/room` and all below it but files.
pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(room::create, list::list))
        .routes(routes!(enter::enter, delete::delete))
        .routes(routes!(broadcast::broadcast))
        .routes(routes!(member::members))
        .routes(routes!(message::send, history::history))
}

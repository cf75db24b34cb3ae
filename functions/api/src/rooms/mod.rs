//! Rooms: made, entered, listed, changed, deleted; their members and messages.

mod broadcast;
mod create;
mod delete;
mod enter;
mod history;
mod join;
mod list;
mod member;
mod membership;
mod message;
mod past;
mod reactions;
mod room;
mod search;
mod tail;
mod update;

use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::membership::{Membership, membership};
use crate::state::State;

/// `/room` and all below it but files.
pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(enter::enter, update::update, delete::delete))
        .routes(routes!(broadcast::broadcast))
        .routes(routes!(member::members, join::join))
        .routes(routes!(member::change_role, member::remove))
        .routes(routes!(message::send, history::history))
        .routes(routes!(search::search))
}

//! Accounts: who somebody is, and their sessions.

mod change;
mod cookie;
mod delete;
mod export;
mod login;
mod proof;
mod refresh;
mod session;
mod user;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::State;

pub use self::{export::Exports, user::find as find_user};

/// `/user`, `/login`, `/logout`.
pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(user::sign_up, user::me, change::change, delete::delete))
        .routes(routes!(export::export))
        .routes(routes!(session::sessions))
        .routes(routes!(session::end))
        .routes(routes!(login::login))
        .routes(routes!(login::logout))
        .routes(routes!(refresh::refresh))
}

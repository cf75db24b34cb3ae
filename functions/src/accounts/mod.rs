//! Accounts: who somebody is, and their sessions.

mod login;
mod refresh;
mod user;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::State;

/// `/user`, `/login`, `/logout`.
pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(user::sign_up, user::me))
        .routes(routes!(login::login))
        .routes(routes!(login::logout))
        .routes(routes!(refresh::refresh))
}

pub use self::user::find as find_user;

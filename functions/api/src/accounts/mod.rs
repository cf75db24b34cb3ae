//! Accounts: sign-up, login, sessions, refresh tokens, changing, exporting and deleting an account.

mod cookie;
mod delete;
mod export;
mod login;
mod password_confirmation;
mod refresh;
mod sessions;
mod tokens;
mod update;
mod user;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

pub use self::user::load_person;

/// `/user`, `/login`, `/logout`.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(user::sign_up, user::me, update::update, delete::delete))
        .routes(routes!(export::export))
        .routes(routes!(sessions::sessions))
        .routes(routes!(sessions::end))
        .routes(routes!(login::login))
        .routes(routes!(login::logout))
        .routes(routes!(refresh::refresh))
}

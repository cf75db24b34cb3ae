//! The stateless HTTP functions: accounts, rooms, messages and files.
//!
//! One router serves them all, whoever runs it: a container, one Lambda function per resource, or
//! `local`. Nothing here remembers anything between two requests but connections.

pub mod accounts;
pub mod config;
mod docs;
pub mod error;
mod export_slots;
mod extract;
pub mod files;
mod health;
pub mod lambda;
mod layers;
mod members;
mod messages;
mod paced_body;
mod pagination;
mod representation;
mod room_row;
mod rooms;
mod state;
mod web_app;

use axum::Router;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

pub use self::{config::Config, state::AppState};

/// Everything: the API, its documents, the pages.
pub fn router(state: AppState) -> Router {
    let (functions, api) = functions().split_for_parts();
    let router = functions.merge(docs::router(&api)).merge(web_app::router());
    let router = web_app::on_navigation(router, state.clone());
    layers::wrap(router, &state.config).with_state(state)
}

fn functions() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(docs::Api::openapi())
        .merge(accounts::router())
        .merge(rooms_resource())
        .merge(files::router())
        .merge(health::router())
}

/// Everything below `/room` but files: what the Lambda function `rooms` serves.
pub fn rooms_resource() -> OpenApiRouter<AppState> {
    rooms::router().merge(members::router()).merge(messages::router())
}

/// One resource alone, in the same layers, as a Lambda function serves it. The pages are with each:
/// a room's page and the room have one address.
pub fn function(resource: OpenApiRouter<AppState>, state: AppState) -> Router {
    let (functions, _) = resource.merge(health::router()).split_for_parts();
    let router = web_app::on_navigation(functions.merge(web_app::router()), state.clone());
    layers::wrap(router, &state.config).with_state(state)
}

//! The stateless HTTP functions: accounts, rooms, messages and files.
//!
//! Containers and `local` serve one router with all resources. On AWS Lambda each resource is a function. Between two
//! requests only connections, keys and counters stay in memory.

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

pub use self::{config::Config, health::watch_readiness, state::AppState};

/// All resources, the API documents and the web page.
pub fn router(state: AppState) -> Router {
    let (functions, api) = functions().split_for_parts();
    let router =
        functions.merge(docs::router(&api, &state.config.gateway_url)).merge(web_app::router());
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

/// All below `/room` except files: the resource of the Lambda function `rooms`.
pub fn rooms_resource() -> OpenApiRouter<AppState> {
    rooms::router().merge(members::router()).merge(messages::router())
}

/// One resource with the same middleware, for a Lambda function. It includes the web page, because a room's page and
/// the room have the same path.
pub fn function(resource: OpenApiRouter<AppState>, state: AppState) -> Router {
    let (functions, _) = resource.merge(health::router()).split_for_parts();
    let router = web_app::on_navigation(functions.merge(web_app::router()), state.clone());
    layers::wrap(router, &state.config).with_state(state)
}

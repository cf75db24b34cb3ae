//! The stateless HTTP functions: accounts, rooms, messages and files.
//!
//! One router serves them all, whoever runs it: a container, one Lambda function per resource, or
//! `local`. Nothing here remembers anything between two requests but connections.

pub mod accounts;
pub mod config;
mod docs;
pub mod error;
mod extract;
pub mod files;
mod health;
pub mod lambda;
mod layers;
mod paced_body;
mod pages;
mod paging;
mod representation;
pub mod rooms;
mod state;

use axum::Router;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

pub use self::{config::Config, state::State};

/// Everything: the API, its documents, the pages.
pub fn router(state: State) -> Router {
    let (functions, api) = functions().split_for_parts();
    let router = functions.merge(docs::router(&api)).merge(pages::router());
    let router = pages::on_navigation(router, state.clone());
    layers::wrap(router, &state.config).with_state(state)
}

fn functions() -> OpenApiRouter<State> {
    OpenApiRouter::with_openapi(docs::Api::openapi())
        .merge(accounts::router())
        .merge(rooms::router())
        .merge(files::router())
        .merge(health::router())
}

/// One resource alone, in the same layers, as a Lambda function serves it. The pages are with each:
/// a room's page and the room have one address.
pub fn function(resource: OpenApiRouter<State>, state: State) -> Router {
    let (functions, _) = resource.merge(health::router()).split_for_parts();
    let router = pages::on_navigation(functions.merge(pages::router()), state.clone());
    layers::wrap(router, &state.config).with_state(state)
}

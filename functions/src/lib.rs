//! The stateless HTTP functions: accounts, rooms, messages and files, and the event function
//! [`archive`].
//!
//! One router serves them all, whoever runs it: a container, one Lambda function per resource, or
//! `local`. Nothing here remembers anything between two requests but connections.

pub mod accounts;
pub mod archive;
pub mod budget;
pub mod config;
pub mod db;
mod docs;
pub mod error;
mod extract;
pub mod files;
mod fold;
mod hash_queue;
mod health;
pub mod lambda;
mod layers;
pub mod outbox;
mod paced_body;
mod pages;
mod paging;
mod password;
mod rate_limit;
mod representation;
pub mod rooms;
mod searches;
pub mod sent;
mod state;
pub mod storage;
pub mod stream_log;
pub mod throttle;

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

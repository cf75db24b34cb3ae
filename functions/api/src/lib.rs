//! The stateless HTTP functions: accounts, rooms, messages and files.
//!
//! Containers and `local` serve one router with all resources. On AWS Lambda they are divided into several functions
//! ([`function::Function`]). Between two requests only connections, keys and counters stay in memory.

pub mod accounts;
mod base_path;
pub mod config;
mod docs;
pub mod error;
mod export_slots;
mod extract;
pub mod files;
pub mod function;
mod health;
mod keys;
pub mod lambda;
mod layers;
mod members;
mod messages;
mod paced_body;
mod pagination;
mod representation;
mod room_row;
mod rooms;
mod site;
mod state;
mod web_app;

use axum::{Router, middleware, routing::any};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

pub use self::{config::Config, health::watch_readiness, site::Site, state::AppState};
use self::{error::ApiError, function::Function};

/// All functions in one server.
pub fn router(state: AppState) -> Router {
    let site = state.config.site.clone();
    let (functions, api) = functions().split_for_parts();
    let wait = middleware::from_fn_with_state(state.clone(), state::wait_for_first_comparison);
    let router = functions.route_layer(wait).merge(page_routes(&api, &site));
    let router = web_app::on_navigation(router, &site);
    base_path::serve_below(site.base_path(), layers::wrap(router, &site).with_state(state))
}

fn functions() -> OpenApiRouter<AppState> {
    let functions = Function::ALL.into_iter().map(Function::resource);
    functions.fold(OpenApiRouter::with_openapi(docs::Api::openapi()), OpenApiRouter::merge)
}

/// One function that has connections. It includes a room's page, because the page and the room have the same path.
fn function(function: Function, state: AppState) -> Router {
    let site = state.config.site.clone();
    let (resource, _) = function.resource().split_for_parts();
    let wait = middleware::from_fn_with_state(state.clone(), state::wait_for_first_comparison);
    let router = web_app::on_navigation(resource.route_layer(wait), &site);
    layers::wrap(router, &site).with_state(state)
}

/// The function `docs`: the web page and the API documents.
fn pages(site: Site) -> Router {
    let (_, api) = functions().split_for_parts();
    layers::wrap(page_routes(&api, &site), &site)
}

fn page_routes<S: Clone + Send + Sync + 'static>(
    api: &utoipa::openapi::OpenApi,
    site: &Site,
) -> Router<S> {
    docs::router(api, site).merge(web_app::router(site))
}

/// Refuses every request for `/`, which stands for an invalid address.
fn refusal(site: &Site) -> Router {
    layers::wrap(Router::new().route("/", any(|| async { ApiError::UriInvalid })), site)
}

//! The web page, embedded into the binary: its addresses are the app's, not the files'.

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{any, get},
};
use rust_embed::RustEmbed;

use crate::{error::ApiError, representation::Representation, state::AppState};

/// Built by `make web`. Without it the servers build and run, and answer pages with 404.
#[derive(RustEmbed)]
#[folder = "../../web/app/dist"]
#[allow_missing = true]
struct App;

/// Vite puts a hash of its content into the name of everything below `/assets/`.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
pub const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// The pages that have no address among the functions.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/", get(index))
        .route("/login", get(index))
        .route("/signup", get(index))
        .route("/new-room", get(index))
        .route(
            "/assets/{*path}",
            get(|Path(path): Path<String>, headers: HeaderMap| async move {
                file(&format!("assets/{path}"), &headers, FOREVER)
            }),
        )
        .route(
            "/favicon.svg",
            get(|headers: HeaderMap| async move { file("favicon.svg", &headers, ASK_AGAIN) }),
        )
        // Any method: an address that is nothing is not found, whatever is wanted of it.
        .route("/{old}", any(old_room))
}

/// `/room:{name}` was a room's address once.
async fn old_room(Path(old): Path<String>, uri: Uri) -> Result<Redirect, ApiError> {
    old.strip_prefix("room:").filter(|name| !name.is_empty()).ok_or(ApiError::NotFound)?;
    // As it came, still percent-encoded.
    let name = uri.path().strip_prefix("/room:").ok_or(ApiError::NotFound)?;
    Ok(Redirect::permanent(&format!("/room/{name}")))
}

/// Answers a browser's navigation to `GET /room/{name}` with the page instead of the room.
pub fn on_navigation(router: Router<AppState>, state: AppState) -> Router<AppState> {
    router.layer(middleware::from_fn_with_state(state, navigate))
}

async fn navigate(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_room = path.strip_prefix("/room/").is_some_and(|name| !name.contains('/'));
    if is_room && request.method() == axum::http::Method::GET && wants_page(request.headers()) {
        return index(State(state), request.headers().clone()).await;
    }
    let mut response = next.run(request).await;
    // The same address has two answers.
    if is_room {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    }
    response
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.split(',').any(|kind| kind.trim().starts_with("text/html")))
}

async fn index(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let mut response = file("index.html", &headers, ASK_AGAIN);
    if let Ok(policy) = HeaderValue::from_str(&policy(&state)) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// What the page may load and reach: itself, the gateway, the storage.
fn policy(state: &AppState) -> String {
    let gateway = state.config.gateway_url.origin().ascii_serialization();
    let socket = gateway.replacen("http", "ws", 1);
    let storage = state.config.storage.public_origin();
    format!(
        "default-src 'self'; connect-src 'self' {gateway} {socket} {storage}; \
         img-src 'self' data: blob: {storage}; media-src 'self' blob: {storage}; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// A file of the build, which has stored the larger ones compressed beside it.
fn file(path: &str, headers: &HeaderMap, caching: HeaderValue) -> Response {
    let Some(file) = App::get(path) else { return ApiError::NotFound.into_response() };
    let beside = |suffix: &str| App::get(&format!("{path}.{suffix}")).map(|file| file.data);
    let (content_type, hash) = (file.metadata.mimetype(), file.metadata.sha256_hash());
    Representation::prepared(content_type, &hash, file.data, beside("br"), beside("gz"))
        .answer(headers, caching)
}

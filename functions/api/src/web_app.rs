//! The web page, embedded into the binary. The page's routes all return `index.html`.

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

/// Built by `make web`. Without it the crate compiles, and pages are answered with 404.
#[derive(RustEmbed)]
#[folder = "../../web/app/dist"]
#[allow_missing = true]
struct App;

/// For files below `/assets/`, whose names contain a hash of their content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
pub const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The pages whose paths belong to no resource.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/", get(index))
        .route("/login", get(index))
        .route("/signup", get(index))
        .route("/new-room", get(index))
        .route(
            "/assets/{*path}",
            get(|Path(path): Path<String>, headers: HeaderMap| async move {
                file(&format!("assets/{path}"), &headers, IMMUTABLE)
            }),
        )
        .route(
            "/favicon.svg",
            get(|headers: HeaderMap| async move { file("favicon.svg", &headers, REVALIDATE) }),
        )
        // For any method, because an unknown path is 404 and not 405.
        .route("/{path}", any(redirect_old_room))
}

/// Redirects from `/room:{name}`, the former path of a room.
async fn redirect_old_room(Path(path): Path<String>, uri: Uri) -> Result<Redirect, ApiError> {
    path.strip_prefix("room:").filter(|name| !name.is_empty()).ok_or(ApiError::NotFound)?;
    // From the URI, where it is still percent-encoded.
    let name = uri.path().strip_prefix("/room:").ok_or(ApiError::NotFound)?;
    Ok(Redirect::permanent(&format!("/room/{name}")))
}

/// Answers `GET /room/{name}` with the page if the client accepts HTML, as browsers do in a navigation.
pub fn on_navigation(router: Router<AppState>, state: AppState) -> Router<AppState> {
    router.layer(middleware::from_fn_with_state(state, navigate))
}

async fn navigate(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_room = path.strip_prefix("/room/").is_some_and(|name| !name.contains('/'));
    if is_room && request.method() == axum::http::Method::GET && accepts_html(request.headers()) {
        return index(State(state), request.headers().clone()).await;
    }
    let mut response = next.run(request).await;
    // The response depends on `Accept`.
    if is_room {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    }
    response
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.split(',').any(|kind| kind.trim().starts_with("text/html")))
}

async fn index(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let mut response = file("index.html", &headers, REVALIDATE);
    if let Ok(policy) = HeaderValue::from_str(&content_security_policy(&state)) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// The Content-Security-Policy of the page: it may load from this server, the gateway and the storage.
fn content_security_policy(state: &AppState) -> String {
    let gateway = state.config.gateway_url.origin().ascii_serialization();
    let socket = gateway.replacen("http", "ws", 1);
    let storage = state.config.storage.public_origin();
    format!(
        "default-src 'self'; connect-src 'self' {gateway} {socket} {storage}; \
         img-src 'self' data: blob: {storage}; media-src 'self' blob: {storage}; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// A file of the build. Larger files have compressed copies beside them, with the suffixes `.br` and `.gz`.
fn file(path: &str, headers: &HeaderMap, caching: HeaderValue) -> Response {
    let Some(file) = App::get(path) else { return ApiError::NotFound.into_response() };
    let copy = |suffix: &str| App::get(&format!("{path}.{suffix}")).map(|file| file.data);
    let (content_type, hash) = (file.metadata.mimetype(), file.metadata.sha256_hash());
    Representation::prepared(content_type, &hash, file.data, copy("br"), copy("gz"))
        .answer(headers, caching)
}

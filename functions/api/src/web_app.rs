//! The web page, embedded into the binary. The page's routes all return `index.html`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{any, get},
};
use rust_embed::RustEmbed;

use crate::{error::ApiError, representation::Representation, site::Site};

/// Built by `make web`. Without it the crate compiles, and pages are answered with 404.
#[derive(RustEmbed)]
#[folder = "../../web/app/dist"]
#[allow_missing = true]
struct App;

/// For files below `/assets/`, whose names contain a hash of their content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
pub const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The paths of [`router`].
pub const PATHS: [&str; 7] =
    ["/", "/login", "/signup", "/new-room", "/assets/{*path}", "/favicon.svg", "/{path}"];

/// The pages whose paths belong to no resource.
pub fn router<S: Clone + Send + Sync + 'static>(site: &Site) -> Router<S> {
    let page = Arc::new(Page::of(site));
    let index = get(move |headers: HeaderMap| std::future::ready(page.answer(&headers)));
    let base = site.base_path().to_owned();
    Router::new()
        .route("/", index.clone())
        .route("/login", index.clone())
        .route("/signup", index.clone())
        .route("/new-room", index)
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
        .route(
            "/{path}",
            any(move |Path(path): Path<String>, uri: Uri| {
                std::future::ready(redirect_old_room(&base, &path, &uri))
            }),
        )
}

/// Redirects from `/room:{name}`, the former path of a room.
fn redirect_old_room(base: &str, path: &str, uri: &Uri) -> Result<Redirect, ApiError> {
    path.strip_prefix("room:").filter(|name| !name.is_empty()).ok_or(ApiError::NotFound)?;
    // From the URI, where it is still percent-encoded.
    let name = uri.path().strip_prefix("/room:").ok_or(ApiError::NotFound)?;
    Ok(Redirect::permanent(&format!("{base}/room/{name}")))
}

/// Answers `GET /room/{name}` with the page if the client accepts HTML, as browsers do in a navigation.
pub fn on_navigation<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    site: &Site,
) -> Router<S> {
    router.layer(middleware::from_fn_with_state(Arc::new(Page::of(site)), navigate))
}

async fn navigate(State(page): State<Arc<Page>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_room = path.strip_prefix("/room/").is_some_and(|name| !name.contains('/'));
    if is_room && request.method() == axum::http::Method::GET && accepts_html(request.headers()) {
        return page.answer(request.headers());
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

/// `index.html` for a site.
struct Page {
    /// `None` without a build.
    content: Option<Representation>,
    policy: Option<HeaderValue>,
}

impl Page {
    fn of(site: &Site) -> Self {
        let base = site.base_path();
        let content = if base.is_empty() { prepared("index.html") } else { index_below(base) };
        Self { content, policy: HeaderValue::from_str(&content_security_policy(site)).ok() }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let Some(content) = &self.content else { return ApiError::NotFound.into_response() };
        let mut response = content.answer(headers, REVALIDATE);
        if let Some(policy) = &self.policy {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        }
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
        response
    }
}

/// `index.html` with the base in front of its addresses, and in an element that the scripts read.
fn index_below(base: &str) -> Option<Representation> {
    let file = App::get("index.html")?;
    let html = std::str::from_utf8(&file.data).ok()?;
    let html = html.replace("=\"/", &format!("=\"{base}/"));
    let html = html.replace("<head>", &format!("<head><meta name=\"base\" content=\"{base}\" />"));
    Some(Representation::compressed("text/html", html.into_bytes().into()))
}

/// The Content-Security-Policy of the page: it may load from this server, the gateway and the storage.
fn content_security_policy(site: &Site) -> String {
    let gateway = site.gateway_url.origin().ascii_serialization();
    let socket = gateway.replacen("http", "ws", 1);
    let storage = site.storage_origin.as_deref().unwrap_or_default();
    format!(
        "default-src 'self'; connect-src 'self' {gateway} {socket} {storage}; \
         img-src 'self' data: blob: {storage}; media-src 'self' blob: {storage}; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// A file of the build. Larger files have compressed copies beside them, with the suffixes `.br` and `.gz`.
fn prepared(path: &str) -> Option<Representation> {
    let file = App::get(path)?;
    let copy = |suffix: &str| App::get(&format!("{path}.{suffix}")).map(|file| file.data);
    let (content_type, hash) = (file.metadata.mimetype(), file.metadata.sha256_hash());
    Some(Representation::prepared(content_type, &hash, file.data, copy("br"), copy("gz")))
}

fn file(path: &str, headers: &HeaderMap, caching: HeaderValue) -> Response {
    match prepared(path) {
        Some(file) => file.answer(headers, caching),
        None => ApiError::NotFound.into_response(),
    }
}

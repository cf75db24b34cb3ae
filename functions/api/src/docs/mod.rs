//! The API documents, generated from the code: `/openapi.json`, `/asyncapi.json` and pages below `/docs/`.

#[cfg(test)]
mod committed;
mod events;
mod openapi;
#[cfg(test)]
mod openapi_tests;
pub mod refusals;
mod rules;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use protocol::asyncapi;
use serde_json::Value;
use url::{Position, Url};
use utoipa_swagger_ui::{Config, serve};

pub use self::openapi::Api;
#[cfg(test)]
pub use self::openapi::document;
use crate::{error::ApiError, representation::Representation, site::Site, web_app::REVALIDATE};

/// Swagger UI sets inline styles. Nothing is loaded from other servers.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; frame-ancestors 'none'";

/// The AsyncAPI document of the gateways at a URL.
fn live_events(gateway: &Url) -> Value {
    let protocol = if gateway.scheme() == "https" { "wss" } else { "ws" };
    asyncapi::document(protocol, &gateway[Position::BeforeHost..Position::AfterPort])
}

/// The paths of [`router`].
pub const PATHS: [&str; 6] =
    ["/openapi.json", "/asyncapi.json", "/docs", "/docs/", "/docs/events", "/docs/{*path}"];

/// `/openapi.json`, `/asyncapi.json` and `/docs/`.
pub fn router<S: Clone + Send + Sync + 'static>(
    api: &utoipa::openapi::OpenApi,
    site: &Site,
) -> Router<S> {
    let live = live_events(&site.gateway_url);
    let page = text("text/html; charset=utf-8", events::page(&live));
    let base = site.base_path();
    let ui = Arc::new(Ui::below(base));
    let index = ui.clone();
    let docs = format!("{base}/docs/");
    let document = openapi::below(base, openapi::document(api));
    Router::new()
        .route("/asyncapi.json", get(fixed(json_text(&live))))
        .route("/openapi.json", get(fixed(json_text(&document))))
        .route(
            "/docs/events",
            get(move |headers: HeaderMap| std::future::ready(shown(&page, &headers))),
        )
        .route("/docs", get(move || async move { Redirect::permanent(&docs) }))
        .route("/docs/", get(move |headers| async move { index.file("index.html", &headers) }))
        .route(
            "/docs/{*path}",
            get(move |Path(path): Path<String>, headers| async move { ui.file(&path, &headers) }),
        )
}

fn text(content_type: &str, text: String) -> Representation {
    Representation::compressed(content_type, text.into_bytes().into())
}

fn json_text(document: &Value) -> Representation {
    text("application/json", document.to_string())
}

/// A handler with a fixed response.
fn fixed(content: Representation) -> impl Fn(HeaderMap) -> std::future::Ready<Response> + Clone {
    move |headers| std::future::ready(content.answer(&headers, REVALIDATE))
}

/// A response with the policy of the documentation pages.
fn shown(content: &Representation, headers: &HeaderMap) -> Response {
    let mut response = content.answer(headers, REVALIDATE);
    let policy = HeaderValue::from_static(DOCS_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// The files of Swagger UI. Each is compressed at its first request.
struct Ui {
    config: Arc<Config<'static>>,
    /// By path. Bounded by the number of files, because only existing files are stored.
    files: Mutex<HashMap<String, Representation>>,
}

impl Ui {
    fn below(base: &str) -> Self {
        let config = Arc::new(Config::from(format!("{base}/openapi.json")));
        Self { config, files: Mutex::default() }
    }

    fn file(&self, path: &str, headers: &HeaderMap) -> Response {
        let known = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(file) = known {
            return shown(&file, headers);
        }
        match serve(path, self.config.clone()) {
            Ok(Some(file)) => {
                let content = file.bytes.into_owned().into();
                let file = Representation::compressed(&file.content_type, content);
                let response = shown(&file, headers);
                let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
                files.insert(path.to_owned(), file);
                response
            }
            Ok(None) => ApiError::NotFound.into_response(),
            Err(error) => {
                ApiError::Internal(anyhow::anyhow!("Swagger UI: {error}")).into_response()
            }
        }
    }
}

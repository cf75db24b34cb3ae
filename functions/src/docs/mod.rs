//! The API described, from the code: `/openapi.json` and `/asyncapi.json`, browsable at `/docs`.

mod events;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::Path,
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use utoipa::{
    OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_swagger_ui::{Config, serve};

use crate::error::ApiError;

/// Swagger UI brings styles with its scripts; nothing from elsewhere is loaded.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; frame-ancestors 'none'";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Chatting-room",
        description = "Accounts, rooms, messages and files. Live events come over Socket.IO: \
            [described here](events), and as AsyncAPI at [/asyncapi.json](/asyncapi.json).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    modifiers(&Bearer),
)]
pub struct Api;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = api.components.get_or_insert_with(Default::default);
        components.add_security_scheme("access", SecurityScheme::Http(scheme));
    }
}

/// `/openapi.json`, `/asyncapi.json` and `/docs/`.
pub fn router<S: Clone + Send + Sync + 'static>(api: utoipa::openapi::OpenApi) -> Router<S> {
    let api = Arc::new(api);
    let config = Arc::new(Config::from("/openapi.json"));
    let page = move |path: String| {
        let config = config.clone();
        async move { asset(&path, config) }
    };
    let index = page.clone();
    let live = Arc::new(protocol::asyncapi::document());
    let live_page = events::page(&live);
    Router::new()
        .route("/asyncapi.json", get(move || std::future::ready(Json(live.clone()))))
        .route("/docs/events", get(move || std::future::ready(html(live_page.clone()))))
        .route("/openapi.json", get(move || std::future::ready(Json(api.clone()))))
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", get(move || index("index.html".to_owned())))
        .route("/docs/{*path}", get(move |Path(path): Path<String>| page(path)))
}

fn html(page: String) -> Response {
    let policy = HeaderValue::from_static(DOCS_POLICY);
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

fn asset(path: &str, config: Arc<Config<'static>>) -> Response {
    match serve(path, config) {
        Ok(Some(file)) => {
            let content_type = HeaderValue::from_str(&file.content_type)
                .unwrap_or(HeaderValue::from_static("application/octet-stream"));
            let headers = [
                (header::CONTENT_TYPE, content_type),
                (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY)),
            ];
            (headers, file.bytes.into_owned()).into_response()
        }
        Ok(None) => ApiError::NotFound.into_response(),
        Err(error) => {
            ApiError::Internal(anyhow::anyhow!("the API's page: {error}")).into_response()
        }
    }
}

//! The API documents, generated from the code: `/openapi.json`, `/asyncapi.json` and pages below `/docs/`.

#[cfg(test)]
mod committed;
mod events;
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
use protocol::{FileId, RoomName, SessionId, UserId, safe_integer::SafeInteger};
use serde_json::{Value, json};
use utoipa::{
    OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_swagger_ui::{Config, serve};

use crate::{
    error::{ApiError, FieldError, Problem},
    pagination::{Cursor, Limit},
    representation::Representation,
    web_app::REVALIDATE,
};

/// Swagger UI sets inline styles. Nothing is loaded from other servers.
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
    // Schemas that only parameters and error responses refer to.
    components(schemas(Problem, FieldError, Cursor, Limit, FileId, RoomName, SessionId, UserId, SafeInteger)),
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

/// Path, media type and summary of the pages and documents, which are routes without `utoipa::path`.
const PAGES: [(&str, &str, &str); 8] = [
    ("/", "text/html", "The page: my rooms"),
    ("/login", "text/html", "The page that logs in"),
    ("/signup", "text/html", "The page that signs up"),
    ("/new-room", "text/html", "The page that creates a room"),
    ("/openapi.json", "application/json", "This document"),
    ("/asyncapi.json", "application/json", "The live events, as AsyncAPI"),
    ("/docs/", "text/html", "This document, browsable"),
    ("/docs/events", "text/html", "The live events, browsable"),
];

/// The OpenAPI document with error responses, constraints and pages added.
fn document(api: &utoipa::openapi::OpenApi) -> Value {
    let mut document = json!(api);
    for (path, media_type, what) in PAGES {
        let mut responses =
            json!({ "200": { "description": what, "content": { media_type: {} } } });
        if media_type == "text/html" && !path.starts_with("/docs") {
            responses["404"] = json!(refusals::listed(&[ApiError::NotFound])["404"]);
        }
        document["paths"][path]["get"] =
            json!({ "tags": ["pages"], "summary": what, "responses": responses });
    }
    // Browsers get the room's page at the same path.
    if let Some(enter) = document.pointer_mut("/paths/~1room~1{name}/get/responses/200/content") {
        enter["text/html"] = json!({});
    }
    rules::add(&mut document);
    refusals::describe(&mut document);
    document
}

/// `/openapi.json`, `/asyncapi.json` and `/docs/`.
pub fn router<S: Clone + Send + Sync + 'static>(api: &utoipa::openapi::OpenApi) -> Router<S> {
    let live = protocol::asyncapi::document();
    let page = text("text/html; charset=utf-8", events::page(&live));
    let ui = Arc::new(Ui::default());
    let index = ui.clone();
    Router::new()
        .route("/asyncapi.json", get(fixed(json_text(&live))))
        .route("/openapi.json", get(fixed(json_text(&document(api)))))
        .route(
            "/docs/events",
            get(move |headers: HeaderMap| std::future::ready(shown(&page, &headers))),
        )
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
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

impl Default for Ui {
    fn default() -> Self {
        Self { config: Arc::new(Config::from("/openapi.json")), files: Mutex::default() }
    }
}

impl Ui {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn served() -> Value {
        document(crate::functions().get_openapi())
    }

    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_has_a_target() {
        let document = served();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.contains("#/components/schemas/Problem"), "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    fn codes<'a>(document: &'a Value, path: &str, method: &str, status: &str) -> Vec<&'a str> {
        let response = &document["paths"][path][method]["responses"][status];
        let schema = &response["content"]["application/problem+json"]["schema"];
        let codes = schema["properties"]["code"]["enum"].as_array();
        codes.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    #[test]
    fn errors_of_handlers_and_extractors_are_documented() {
        let document = served();
        let of = |path, method, status| codes(&document, path, method, status);
        let file = "/room/{name}/file";
        assert_eq!(of(file, "post", "413"), ["body-too-large", "file-too-large"]);
        assert_eq!(of(file, "post", "404"), ["no-such-room"]);
        assert_eq!(of(file, "post", "415"), ["unsupported-media-type"]);
        assert!(of(file, "post", "401").contains(&"token-expired"));
        assert!(of(file, "post", "503").contains(&"unavailable"));
        assert_eq!(of("/file/{id}/complete", "post", "422"), ["file-mismatch"]);
        assert_eq!(of("/healthz", "get", "503"), ["timeout"]);
        assert!(of("/healthz", "get", "401").is_empty());
        let needs = |path| of(path, "get", "422").contains(&"missing-field");
        assert!(of("/room", "get", "422").contains(&"unknown-field"));
        assert!(!needs("/room") && needs("/room/{name}/message/search"));
        assert!(of("/room", "get", "400").is_empty());
    }

    #[test]
    fn every_response_has_a_description_and_headers() {
        let document = served();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let what = format!("{method} {path} {status}");
                    assert_ne!(status, "default", "{what}");
                    let has = |name: &str| response["headers"].get(name).is_some();
                    assert!(has("x-request-id"), "{what}");
                    assert_eq!(has("retry-after"), matches!(&**status, "429" | "503"), "{what}");
                    assert_eq!(has("www-authenticate"), status == "401", "{what}");
                    assert_eq!(has("location"), status.starts_with('3'), "{what}");
                    assert!(!response["description"].as_str().unwrap().is_empty(), "{what}");
                    assert!(response.get("x-refusals").is_none(), "{what}");
                }
            }
        }
    }

    #[test]
    fn operation_ids_are_unique() {
        let document = served();
        let mut found = BTreeSet::new();
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                if let Some(id) = operation.get("operationId") {
                    assert!(found.insert(id.as_str().unwrap()), "{id}");
                }
            }
        }
        assert!(found.contains("delete_room") && found.contains("delete_account"), "{found:?}");
    }

    #[test]
    fn bodies_allow_no_additional_properties() {
        let document = served();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let body = &operation["requestBody"]["content"]["application/json"]["schema"];
                let Some(reference) = body["$ref"].as_str() else { continue };
                let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
                assert_eq!(schema["additionalProperties"], false, "{method} {path}");
            }
        }
    }
}

//! The OpenAPI document: what utoipa generates from the handlers, completed.

use protocol::{FileId, RoomName, SessionId, UserId, safe_integer::SafeInteger};
use serde_json::{Value, json};
use utoipa::{
    OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{refusals, rules};
use crate::{
    error::{ApiError, FieldError, Problem},
    pagination::{Cursor, Limit},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Chatting-room",
        description = "Accounts, rooms, messages and files. Live events come over Socket.IO: \
            [described here](/docs/events), and as AsyncAPI at [/asyncapi.json](/asyncapi.json). \
            Ids are UUIDs: upper and lower case are the same id, and answers have lower case.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    // Relative, so that it is right at every address of the functions.
    servers((url = "/", description = "The server of this document")),
    tags(
        (name = "accounts", description = "Users, their sessions and tokens"),
        (name = "rooms", description = "Rooms and their members"),
        (name = "messages", description = "Messages of a room"),
        (name = "files", description = "Files, which clients upload to and download from the storage directly"),
        (name = "operation", description = "For operators: health and public keys"),
        (name = "pages", description = "Web pages and API documents"),
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

/// A page or a document, which is a route without `utoipa::path`.
struct PageRoute {
    path: &'static str,
    operation_id: &'static str,
    summary: &'static str,
    answer: PageAnswer,
}

enum PageAnswer {
    /// A page of the web app. It is missing if the server was built without it.
    App,
    Html,
    Json,
    Redirect,
}

const PAGES: [PageRoute; 8] = [
    page("/", "show_home_page", "The page: my rooms", PageAnswer::App),
    page("/login", "show_login_page", "The page that logs in", PageAnswer::App),
    page("/signup", "show_sign_up_page", "The page that signs up", PageAnswer::App),
    page("/new-room", "show_new_room_page", "The page that creates a room", PageAnswer::App),
    page("/openapi.json", "get_openapi_document", "This document", PageAnswer::Json),
    page(
        "/asyncapi.json",
        "get_asyncapi_document",
        "The live events, as AsyncAPI",
        PageAnswer::Json,
    ),
    page("/docs", "show_docs_page", "A redirect to this document, browsable", PageAnswer::Redirect),
    page("/docs/events", "show_events_page", "The live events, browsable", PageAnswer::Html),
];

const fn page(
    path: &'static str,
    operation_id: &'static str,
    summary: &'static str,
    answer: PageAnswer,
) -> PageRoute {
    PageRoute { path, operation_id, summary, answer }
}

impl PageRoute {
    fn responses(&self) -> Value {
        let ok = |content| json!({ "200": { "description": self.summary, "content": content } });
        match self.answer {
            PageAnswer::App => {
                let mut responses = ok(html());
                responses["404"] = json!(refusals::listed(&[ApiError::NotFound])["404"]);
                responses
            }
            PageAnswer::Html => ok(html()),
            PageAnswer::Json => ok(json!({ "application/json": { "schema": {} } })),
            PageAnswer::Redirect => json!({ "308": { "description": self.summary } }),
        }
    }
}

fn html() -> Value {
    json!({ "text/html": { "schema": { "type": "string" } } })
}

/// The OpenAPI document with error responses, constraints and pages added.
pub fn document(api: &utoipa::openapi::OpenApi) -> Value {
    let mut document = json!(api);
    for page in PAGES {
        document["paths"][page.path]["get"] = json!({
            "tags": ["pages"],
            "operationId": page.operation_id,
            "summary": page.summary,
            "responses": page.responses(),
        });
    }
    // Browsers get the room's page at the same path.
    if let Some(enter) = document.pointer_mut("/paths/~1room~1{name}/get/responses/200/content") {
        enter["text/html"] = html()["text/html"].take();
    }
    rules::add(&mut document);
    refusals::describe(&mut document);
    document
}

/// The document for a server whose addresses begin with a path.
pub fn below(base: &str, mut document: Value) -> Value {
    if !base.is_empty() {
        document["servers"][0]["url"] = base.into();
        let description = document["info"]["description"].as_str().unwrap_or_default();
        document["info"]["description"] = description.replace("](/", &format!("]({base}/")).into();
    }
    document
}

//! The error responses of each operation: those that the handler lists, and those of its extractors for token, body,
//! query and path. Status and code come from [`ApiError`].

use std::{collections::BTreeMap, time::Duration};

use axum::http::StatusCode;
use protocol::{
    Code,
    json::JsonError,
    rate::{Budget, OverBudget},
    token::TokenError,
};
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Response, extensions::ExtensionsBuilder, response::ResponseBuilder};

use crate::error::ApiError;

/// Extension that carries the codes from [`listed`] to [`describe`], which removes it.
const LISTED: &str = "x-refusals";
/// Bound of `Retry-After`: a day, more than the longest wait.
const RETRY_SECONDS_MAX: u32 = 86_400;

/// The error of operations that charge the user's budget.
pub const USER_OVER: OverBudget = OverBudget { budget: Budget::User, wait: A_SECOND };
/// The error of operations that charge the room's budget.
pub const ROOM_OVER: OverBudget = OverBudget { budget: Budget::Room, wait: A_SECOND };
pub const A_SECOND: Duration = Duration::from_secs(1);

/// Defines a type for a handler's `responses(…)` that lists the errors of the handler itself, for example
/// `refusals!(CreateRoomRefusals: RoomExists, FileTooLarge(8))`. The errors of extractors are added without it.
macro_rules! refusals {
    ($name:ident: $($error:expr),+ $(,)?) => {
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                use $crate::error::ApiError::*;
                $crate::docs::refusals::listed(&[$($error),+])
            }
        }
    };
}
pub(crate) use refusals;

/// The responses for a list of errors, by status. See [`refusals`].
pub fn listed(errors: &[ApiError]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for error in errors {
        let (status, code) = error.kind();
        let codes = by_status.entry(status.as_u16().to_string()).or_default();
        codes.insert(code.to_owned(), error.to_string().into());
    }
    let responses = by_status.into_iter().map(|(status, codes)| {
        let extensions = ExtensionsBuilder::new().add(LISTED, codes).build();
        (status, ResponseBuilder::new().extensions(Some(extensions)).build().into())
    });
    responses.collect()
}

/// Adds to every operation of a document its error responses and the headers of all responses.
pub fn describe(document: &mut Value) {
    document["components"]["headers"] = described_headers();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        let operations = item.as_object_mut().into_iter().flatten();
        for (_, operation) in operations.filter(|(_, operation)| operation["responses"].is_object())
        {
            let implied = implied(path, operation);
            complete(&mut operation["responses"], implied);
        }
    }
}

/// The errors of an operation that its extractors and the middleware cause.
fn implied(path: &str, operation: &Value) -> Vec<ApiError> {
    let bad = |code| {
        ApiError::Json(JsonError { code, field: None, detail: general_detail(code).to_owned() })
    };
    let mut all = vec![ApiError::Internal(anyhow::anyhow!("")), ApiError::Timeout];
    let parameters = || operation["parameters"].as_array().into_iter().flatten();
    let has = |place: &str| parameters().any(|parameter| parameter["in"] == place);
    let is_protected = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
    let has_body = operation["requestBody"].is_object();
    if is_protected {
        all.extend([
            ApiError::TokenMissing,
            ApiError::Token(TokenError::Invalid),
            ApiError::Token(TokenError::Expired),
            ApiError::Token(TokenError::WrongKind),
            ApiError::SessionRevoked,
        ]);
    }
    if has_body {
        all.extend([ApiError::NotJson, ApiError::BodyTooLarge]);
        all.extend([ApiError::BodyTooSlow, ApiError::BodyBroken]);
        all.extend([Code::MalformedJson, Code::MissingField, Code::WrongType].map(bad));
    }
    if parameters().any(|parameter| parameter["in"] == "query" && parameter["required"] == true) {
        all.push(bad(Code::MissingField));
    }
    if has_body || has("query") {
        all.extend([Code::UnknownField, Code::DuplicateField, Code::InvalidValue].map(bad));
    }
    if is_protected || has_body {
        let away = ApiError::Unavailable("the database, the message log or the storage");
        all.extend([away, ApiError::Busy, ApiError::StorageFull]);
    }
    match path {
        _ if path.starts_with("/room/{name}") => all.push(ApiError::NoSuchRoom),
        _ if path.starts_with("/file/{id}") => all.push(ApiError::NoSuchFile),
        _ => {}
    }
    all
}

/// The detail of an invalid body or query, without the field's name.
fn general_detail(code: Code) -> &'static str {
    match code {
        Code::MalformedJson => "the body is not JSON",
        Code::MissingField => "a field is missing",
        Code::WrongType => "a value has the wrong JSON type",
        Code::UnknownField => "a field is unknown",
        Code::DuplicateField => "a field occurs twice",
        _ => "a value is invalid for its field",
    }
}

fn complete(responses: &mut Value, implied: Vec<ApiError>) {
    let mut codes: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let all = responses.as_object_mut();
    for (status, response) in all.into_iter().flatten() {
        let listed = response.as_object_mut().and_then(|response| response.remove(LISTED));
        for (code, detail) in listed.as_ref().and_then(Value::as_object).into_iter().flatten() {
            let detail = detail.as_str().unwrap_or_default().to_owned();
            codes.entry(status.clone()).or_default().insert(code.clone(), detail);
        }
    }
    for error in implied {
        let (status, code) = error.kind();
        let codes = codes.entry(status.as_u16().to_string()).or_default();
        codes.entry(code.to_owned()).or_insert_with(|| error.to_string());
    }
    for (status, codes) in codes {
        let described = problem(&status, &codes);
        let response = &mut responses[&status];
        // A success response with the same status keeps its media type and description.
        response["content"]["application/problem+json"] = described["content"].clone();
        let own = response["description"].as_str().unwrap_or_default();
        let both = [own, described["description"].as_str().unwrap_or_default()].join("\n\n");
        response["description"] = both.trim().into();
    }
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        if response["description"].as_str().unwrap_or_default().is_empty() {
            response["description"] = reason(status).into();
        }
        headers(status, &mut response["headers"]);
    }
}

fn reason(status: &str) -> &'static str {
    let status = StatusCode::from_bytes(status.as_bytes()).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or_default()
}

/// The response of a status with one of several codes.
fn problem(status: &str, codes: &BTreeMap<String, String>) -> Value {
    let lines = codes.iter().map(|(code, detail)| format!("- `{code}`: {detail}"));
    let number: u16 = status.parse().unwrap_or_default();
    json!({
        "description": lines.collect::<Vec<_>>().join("\n"),
        "content": { "schema": {
            "allOf": [{ "$ref": "#/components/schemas/Problem" }],
            "properties": {
                "title": { "const": reason(status) },
                "status": { "const": number },
                "code": { "enum": codes.keys().collect::<Vec<_>>() },
            },
        } },
    })
}

fn headers(status: &str, headers: &mut Value) {
    let own = match status {
        "302" | "308" => Some("location"),
        "401" => Some("www-authenticate"),
        "429" | "503" => Some("retry-after"),
        _ => None,
    };
    for name in own.into_iter().chain(["x-request-id"]) {
        headers[name] = json!({ "$ref": format!("#/components/headers/{name}") });
    }
}

fn header(description: &str, schema: Value) -> Value {
    json!({ "description": description, "required": true, "schema": schema })
}

/// The headers that responses refer to.
fn described_headers() -> Value {
    json!({
        "x-request-id": header(
            "The request's `x-request-id` if it matches the pattern, otherwise a new one.",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" }),
        ),
        "www-authenticate": header(
            "The authentication scheme (RFC 6750).",
            json!({ "type": "string", "const": "Bearer" }),
        ),
        "location": header("The URL of the redirect.", json!({ "type": "string", "format": "uri-reference" })),
        "retry-after": header(
            "Seconds to wait before the next try.",
            json!({ "type": "integer", "minimum": 0, "maximum": RETRY_SECONDS_MAX }),
        ),
    })
}

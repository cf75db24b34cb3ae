//! The query string as a struct.

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use protocol::{
    Code,
    json::{self, JsonError},
};
use serde::de::DeserializeOwned;

use crate::{error::ApiError, state::AppState};

/// The query.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(query_error(&error.body_text()).into()),
        }
    }
}

/// Reads field and code from axum's message `Failed to deserialize query string: limit: …`. The rejection has no other
/// way to report them.
fn query_error(text: &str) -> JsonError {
    let text = text.split_once("query string: ").map_or(text, |(_, message)| message);
    // In front of serde's message there may be the field's name, which may have any characters.
    let starts = text.match_indices(": ").map(|(colon, _)| colon + 2);
    let named = std::iter::once(0).chain(starts).find_map(|start| {
        let message = &text[start..];
        let (code, name) = json::classify(message);
        let field = Some(name?.to_owned());
        Some(JsonError { code, field, detail: message.to_owned() })
    });
    named.unwrap_or_else(|| {
        let (field, detail) = match text.split_once(": ") {
            Some((field, detail)) if !field.contains(' ') => (field, detail),
            _ => ("query", text),
        };
        let (field, detail) = (Some(field.to_owned()), detail.to_owned());
        JsonError { code: Code::InvalidValue, field, detail }
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;
    use serde::Deserialize;

    use super::*;
    use crate::pagination::Limit;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Paging {
        #[expect(dead_code, reason = "only parsed")]
        limit: Option<Limit>,
    }

    #[test]
    fn an_invalid_query_names_its_field() {
        for (query, code, field) in [
            ("limit=0", Code::InvalidValue, "limit"),
            ("limit=x", Code::InvalidValue, "limit"),
            ("limit=1&limit=2", Code::DuplicateField, "limit"),
            ("limit=1&page=2", Code::UnknownField, "page"),
            ("a%3A+b=2", Code::UnknownField, "a: b"),
        ] {
            let uri: Uri = format!("http://chat.example/room?{query}").parse().unwrap();
            let error = Query::<Paging>::try_from_uri(&uri).unwrap_err();
            let bad = query_error(&error.body_text());
            assert_eq!((bad.code, bad.field.as_deref()), (code, Some(field)), "{query}: {bad}");
        }
        assert!(Query::<Paging>::try_from_uri(&Uri::from_static("/room?limit=200")).is_ok());
    }
}

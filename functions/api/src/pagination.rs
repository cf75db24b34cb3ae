//! Pages of lists, with opaque cursors.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use protocol::{
    fold::{is_searchable_alone, searchable_chars},
    limits,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema,
        schema::{OneOfBuilder, Type},
    },
};

use crate::error::ApiError;

/// One page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<Cursor>,
}

/// An item of a list. Handlers refer to its pages by an alias of [`Page`], because utoipa inlines the items of a
/// generic type, and generated clients then have no name for them.
pub trait PageItem: ToSchema {
    /// The name of the schema of a page of these items.
    const PAGE: &'static str;
}

impl<T: PageItem> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let null = ObjectBuilder::new().schema_type(Type::Null);
        let next = OneOfBuilder::new().item(Ref::from_schema_name(Cursor::name())).item(null);
        let next = next.description(Some("The cursor of the next page, `null` on the last page."));
        ObjectBuilder::new()
            .property("items", ArrayBuilder::new().items(Ref::from_schema_name(T::name())))
            .property("next", next)
            .required("items")
            .required("next")
            .description(Some("One page of a list."))
            .into()
    }
}

impl<T: PageItem> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        T::PAGE.into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

/// The start of a page: `next` of the previous page of the same list. Its content may change between versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = "cursor", pattern = "^[A-Za-z0-9_-]+$")]
pub struct Cursor(String);

impl std::ops::Deref for Cursor {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// Selects a page of a list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// `next` of the previous page.
    pub cursor: Option<Cursor>,
    pub limit: Option<Limit>,
}

/// A text to search for, of at most `MAX` characters, and of at least `MIN` visible ones unless it contains a Chinese,
/// Japanese or Korean character or an emoji. NUL is refused, because PostgreSQL does not store it. A field of a query
/// needs `#[param(inline)]` and a type alias, because utoipa does not support const generics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SearchTerm<const MIN: usize, const MAX: usize>(String);

impl<const MIN: usize, const MAX: usize> TryFrom<String> for SearchTerm<MIN, MAX> {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let is_long = searchable_chars(&text) >= MIN || text.chars().any(is_searchable_alone);
        if text.contains('\0') {
            return Err("must not contain NUL (U+0000)".to_owned());
        }
        if !is_long || text.chars().count() > MAX {
            return Err(format!(
                "must have {MIN} to {MAX} visible characters, or one Chinese, Japanese, Korean character or emoji"
            ));
        }
        Ok(Self(text))
    }
}

impl<const MIN: usize, const MAX: usize> std::ops::Deref for SearchTerm<MIN, MAX> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MIN: usize, const MAX: usize> PartialSchema for SearchTerm<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[^\u0000]*$"));
        text.min_length(Some(MIN.min(1))).max_length(Some(MAX)).into()
    }
}

impl<const MIN: usize, const MAX: usize> ToSchema for SearchTerm<MIN, MAX> {}

/// Number of items of a page.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "u32")]
#[schema(value_type = u32, minimum = 1, maximum = 200, default = 50)]
pub struct Limit(u32);

impl TryFrom<u32> for Limit {
    type Error = String;
    fn try_from(count: u32) -> Result<Self, String> {
        if (1..=limits::PAGE_MAX).contains(&count) {
            return Ok(Self(count));
        }
        Err(format!("must be 1 to {}", limits::PAGE_MAX))
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(limits::PAGE_DEFAULT)
    }
}

impl Limit {
    pub fn count(self) -> usize {
        self.0 as usize
    }

    /// The `LIMIT` of the statement: one more, which shows whether there is a next page.
    pub fn and_one(self) -> i64 {
        i64::from(self.0) + 1
    }
}

/// The rows of a page, out of up to [`Limit::and_one`], and the cursor of the next page.
pub fn page_of<R, P: Serialize>(
    mut rows: Vec<R>,
    limit: Limit,
    position: impl Fn(&R) -> P,
) -> (Vec<R>, Option<Cursor>) {
    let has_more = rows.len() > limit.count();
    rows.truncate(limit.count());
    let next = rows.last().filter(|_| has_more).map(|row| encode(&position(row)));
    (rows, next)
}

/// Encodes a position as a cursor: opaque to clients, but not secret.
pub fn encode<T: Serialize>(position: &T) -> Cursor {
    // Positions are plain structs, whose serialization cannot fail.
    Cursor(BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default()))
}

/// Decodes a cursor. Clients may forge cursors, so every value of the position's type must be valid in a statement. A
/// `String` is not, because it may contain NUL.
pub fn decode<T: DeserializeOwned>(cursor: &str) -> Result<T, ApiError> {
    let bad = || ApiError::Invalid { field: "cursor", detail: "not a cursor of this list".into() };
    let json = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| bad())?;
    serde_json::from_slice(&json).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursors_are_decoded_and_other_texts_are_refused(position: String, text in "\\PC{0,40}") {
            prop_assert_eq!(decode::<String>(&encode(&position)).unwrap(), position);
            if let Ok(position) = decode::<String>(&text) {
                prop_assert_eq!(encode(&position).0, text);
            }
        }

        #[test]
        fn a_search_term_matches_its_schema(text in "[\0a\n가👍\u{200B}]{0,2}|\\PC{0,110}") {
            let schema = serde_json::json!(<SearchTerm<2, 100> as utoipa::PartialSchema>::schema());
            let pattern = regex::Regex::new(schema["pattern"].as_str().unwrap()).unwrap();
            let bound = |name: &str| schema[name].as_u64().unwrap() as usize;
            let fits = (bound("minLength")..=bound("maxLength")).contains(&text.chars().count());
            let described = fits && pattern.is_match(&text);
            // A schema cannot express which characters are enough alone.
            let is_short = searchable_chars(&text) < 2 && !text.chars().any(is_searchable_alone);
            prop_assert_eq!(SearchTerm::<2, 100>::try_from(text).is_ok(), described && !is_short);
        }
    }
}

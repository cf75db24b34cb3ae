//! Lists: pages with an opaque cursor.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use protocol::limits;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::ApiError;

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins; none on the last one.
    pub next: Option<Cursor>,
}

/// Where a page begins: `next` of the page before it, of the same list. What is in it may change.
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

/// Which page of a list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// `next` of the page before.
    pub cursor: Option<String>,
    pub limit: Option<Limit>,
}

/// How many items a page has.
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
        Err(format!("limit is 1 to {}", limits::PAGE_MAX))
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

    /// What a statement is asked for: one more tells whether there is a next page.
    pub fn and_one(self) -> i64 {
        i64::from(self.0) + 1
    }
}

/// The rows of one page out of [`Limit::and_one`] of them, and the cursor of the next.
pub fn cut<R, P: Serialize>(
    mut rows: Vec<R>,
    limit: Limit,
    position: impl Fn(&R) -> P,
) -> (Vec<R>, Option<Cursor>) {
    let has_more = rows.len() > limit.count();
    rows.truncate(limit.count());
    let next = rows.last().filter(|_| has_more).map(|row| encode(&position(row)));
    (rows, next)
}

/// Makes a cursor. Its content is nobody's business but ours, and no secret.
pub fn encode<T: Serialize>(position: &T) -> Cursor {
    // Positions are plain structs: they cannot fail to serialize.
    Cursor(BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default()))
}

/// Reads a cursor that [`encode`] made.
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
        fn a_cursor_is_read_back_and_others_are_refused(position: String, text in "\\PC{0,40}") {
            prop_assert_eq!(decode::<String>(&encode(&position)).unwrap(), position);
            let _ = decode::<String>(&text);
        }
    }
}

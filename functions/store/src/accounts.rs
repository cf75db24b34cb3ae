//! Rules about accounts that several crates share.

use chrono::TimeDelta;
use protocol::{DisplayName, UserId, stored::Person};

use crate::StoreError;

/// Display name of a deleted account, also as the author of its messages.
pub const DELETED_NAME: &str = "deleted user";

/// Lifetime of a refresh token. A session that is not refreshed within it has ended.
pub const REFRESH_WITHIN: TimeDelta = TimeDelta::days(30);

/// Builds a person from a stored display name.
pub fn person(id: UserId, display_name: &str) -> Result<Person, StoreError> {
    let name = DisplayName::parse(display_name)
        .map_err(|error| StoreError::corrupt("display name", error))?;
    Ok(Person { id, name })
}

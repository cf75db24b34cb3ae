//! Rules about accounts that several crates share.

use chrono::TimeDelta;
use protocol::{DisplayName, UserId, name::Stored as _, stored::Person};

/// Display name of a deleted account, also as the author of its messages.
pub const DELETED_NAME: &str = "deleted user";

/// Lifetime of a refresh token. A session that is not refreshed within it has ended.
pub const REFRESH_WITHIN: TimeDelta = TimeDelta::days(30);

/// Builds a person from a stored display name.
pub fn person(id: UserId, display_name: &str) -> Person {
    Person { id, name: DisplayName::from_stored(display_name) }
}

//! Accounts.

use chrono::{DateTime, Utc};
use protocol::{UserId, UserName};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    StoreError,
    accounts::REFRESH_WITHIN,
    db::{Database, on_db},
};

/// An account in a list.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct UserEntry {
    pub id: Uuid,
    pub name: String,
    pub display_name: String,
    pub created_at: DateTime<Utc>,
    pub disabled_at: Option<DateTime<Utc>>,
    /// Sessions that are neither revoked nor expired.
    pub sessions: i64,
    /// Rooms that the user is a member of.
    pub rooms: i64,
}

/// A room of a user.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct UserRoomEntry {
    pub id: Uuid,
    pub name: String,
    pub role: String,
    pub joined_at: DateTime<Utc>,
}

/// An account with its rooms.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserDetails {
    #[serde(flatten)]
    pub user: UserEntry,
    pub files: i64,
    pub file_bytes: i64,
    pub memberships: Vec<UserRoomEntry>,
}

/// An account that a name or an id stands for.
#[derive(Debug)]
pub struct FoundUser {
    pub id: UserId,
    pub name: String,
}

/// Finds an account that is not deleted by its name or its id.
pub async fn find_user(database: &Database, text: &str) -> Result<Option<FoundUser>, StoreError> {
    let name = UserName::parse(text).ok();
    let found: Option<(Uuid, String)> = on_db!(database, e => sqlx::query_as(
        "SELECT id, name FROM account WHERE (name = $1 OR id = $2) AND deleted_at IS NULL"
    )
    .bind(name.as_ref().map(UserName::as_str))
    .bind(text.parse::<Uuid>().ok())
    .fetch_optional(e))?;
    Ok(found.map(|(id, name)| FoundUser { id: id.into(), name }))
}

/// Accounts in the order of their names, after a name.
pub async fn users(
    database: &Database,
    prefix: &str,
    only_disabled: bool,
    after: &str,
    limit: i64,
) -> Result<Vec<UserEntry>, StoreError> {
    Ok(on_db!(database, e => sqlx::query_as(
        "SELECT a.id, a.name, a.display_name, a.created_at, a.disabled_at,
           (SELECT COUNT(*) FROM session s WHERE s.user_id = a.id AND s.revoked_at IS NULL
              AND COALESCE(s.used_at, s.created_at) > $5) AS sessions,
           (SELECT COUNT(*) FROM active_member m WHERE m.user_id = a.id) AS rooms
         FROM account a
         WHERE a.deleted_at IS NULL AND a.name > $1 AND substr(a.name, 1, length($2)) = $2
           AND (a.disabled_at IS NOT NULL OR NOT $3)
         ORDER BY a.name LIMIT $4"
    )
    .bind(after)
    .bind(prefix)
    .bind(only_disabled)
    .bind(limit)
    .bind(Utc::now() - REFRESH_WITHIN)
    .fetch_all(e))?)
}

/// An account with its rooms.
pub async fn user_details(
    database: &Database,
    user: UserId,
) -> Result<Option<UserDetails>, StoreError> {
    let entry: Option<UserEntry> = on_db!(database, e => sqlx::query_as(
        "SELECT a.id, a.name, a.display_name, a.created_at, a.disabled_at,
           (SELECT COUNT(*) FROM session s WHERE s.user_id = a.id AND s.revoked_at IS NULL
              AND COALESCE(s.used_at, s.created_at) > $2) AS sessions,
           (SELECT COUNT(*) FROM active_member m WHERE m.user_id = a.id) AS rooms
         FROM account a WHERE a.id = $1 AND a.deleted_at IS NULL"
    ).bind(user.as_uuid()).bind(Utc::now() - REFRESH_WITHIN).fetch_optional(e))?;
    let Some(entry) = entry else { return Ok(None) };
    let (files, file_bytes): (i64, i64) = on_db!(database, e => sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM file WHERE uploader_id = $1"
    ).bind(user.as_uuid()).fetch_one(e))?;
    let memberships = on_db!(database, e => sqlx::query_as(
        "SELECT r.id, r.name, m.role, m.joined_at FROM active_member m JOIN room r ON r.id = m.room_id
         WHERE m.user_id = $1 ORDER BY r.name"
    ).bind(user.as_uuid()).fetch_all(e))?;
    Ok(Some(UserDetails { user: entry, files, file_bytes, memberships }))
}

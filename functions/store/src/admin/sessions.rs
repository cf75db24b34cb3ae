//! Sessions of a user.

use chrono::{DateTime, Utc};
use protocol::UserId;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    StoreError,
    accounts::REFRESH_WITHIN,
    db::{Database, on_db},
};

/// A session that is neither revoked nor expired.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct SessionEntry {
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
    pub user_agent: Option<String>,
}

/// The sessions of a user, oldest first.
pub async fn sessions(database: &Database, user: UserId) -> Result<Vec<SessionEntry>, StoreError> {
    Ok(on_db!(database, e => sqlx::query_as(
        "SELECT id, created_at, used_at, user_agent FROM session
         WHERE user_id = $1 AND revoked_at IS NULL AND COALESCE(used_at, created_at) > $2 ORDER BY id"
    ).bind(user.as_uuid()).bind(Utc::now() - REFRESH_WITHIN).fetch_all(e))?)
}

//! Numbers of the whole system. They are counted, so the query takes long on a big database.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    StoreError,
    accounts::REFRESH_WITHIN,
    db::{Database, on_db},
};

/// Numbers of the whole system.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    pub users: i64,
    pub disabled_users: i64,
    /// Deleted accounts whose rooms are not all left yet.
    pub users_being_deleted: i64,
    pub sessions: i64,
    pub rooms: i64,
    /// Deleted rooms whose contents are not all removed yet.
    pub rooms_being_deleted: i64,
    pub members: i64,
    pub bans: i64,
    /// Archived messages.
    pub messages: i64,
    pub files: i64,
    pub file_bytes: i64,
    /// Messages to NATS that are not published yet.
    pub outbox_rows: i64,
    pub outbox_oldest: Option<DateTime<Utc>>,
}

/// Counts everything.
pub async fn stats(database: &Database) -> Result<Stats, StoreError> {
    Ok(on_db!(database, e => sqlx::query_as(
        "SELECT
           (SELECT COUNT(*) FROM account WHERE deleted_at IS NULL) AS users,
           (SELECT COUNT(*) FROM account WHERE deleted_at IS NULL AND disabled_at IS NOT NULL) AS disabled_users,
           (SELECT COUNT(*) FROM account WHERE deleted_at IS NOT NULL AND erased_at IS NULL) AS users_being_deleted,
           (SELECT COUNT(*) FROM session WHERE revoked_at IS NULL AND COALESCE(used_at, created_at) > $1) AS sessions,
           (SELECT COUNT(*) FROM room WHERE deleted_at IS NULL) AS rooms,
           (SELECT COUNT(*) FROM room WHERE deleted_at IS NOT NULL AND emptied_at IS NULL) AS rooms_being_deleted,
           (SELECT COUNT(*) FROM active_member) AS members,
           (SELECT COUNT(*) FROM ban) AS bans,
           (SELECT COUNT(*) FROM message WHERE deleted_at IS NULL) AS messages,
           (SELECT COUNT(*) FROM file) AS files,
           (SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM file) AS file_bytes,
           (SELECT COUNT(*) FROM outbox) AS outbox_rows,
           (SELECT MIN(created_at) FROM outbox) AS outbox_oldest"
    ).bind(Utc::now() - REFRESH_WITHIN).fetch_one(e))?)
}

//! The rows of an export, read in pages. `after` is the key of the last row of the page before.

use chrono::{DateTime, Utc};
use protocol::{Seq, UserId, stored::FileRef};
use store::db::on_db;
use uuid::Uuid;

use super::document::{
    ExportedBan, ExportedFile, ExportedMembership, ExportedMessage, ExportedReaction,
};
use crate::{error::ApiError, state::AppState};

#[derive(sqlx::FromRow)]
pub struct OwnMembershipRow {
    pub room_id: Uuid,
    name: String,
    role: String,
    joined_at: DateTime<Utc>,
    #[sqlx(try_from = "i64")]
    read_seq: Seq,
}

pub async fn memberships(
    state: &AppState,
    user: UserId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<OwnMembershipRow>, ApiError> {
    Ok(on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT m.room_id, r.name, m.role, m.joined_at, COALESCE(k.seq, 0) AS read_seq
         FROM active_member m JOIN room r ON r.id = m.room_id
         LEFT JOIN read_mark k ON k.room_id = m.room_id AND k.user_id = m.user_id
         WHERE m.user_id = $1 AND m.room_id > $2
         ORDER BY m.room_id LIMIT $3"
    ).bind(user.as_uuid()).bind(after.unwrap_or(Uuid::nil())).bind(limit).fetch_all(e))?)
}

impl From<OwnMembershipRow> for ExportedMembership {
    fn from(row: OwnMembershipRow) -> Self {
        let OwnMembershipRow { room_id, name, role, joined_at, read_seq } = row;
        let (room_id, joined_at) = (room_id.into(), joined_at.into());
        Self { room_id, room: name, role, joined_at, read_seq }
    }
}

#[derive(sqlx::FromRow)]
pub struct OwnBanRow {
    pub room_id: Uuid,
    at: DateTime<Utc>,
}

pub async fn bans(
    state: &AppState,
    user: UserId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<OwnBanRow>, ApiError> {
    Ok(on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT room_id, at FROM ban WHERE user_id = $1 AND room_id > $2 ORDER BY room_id LIMIT $3"
    ).bind(user.as_uuid()).bind(after.unwrap_or(Uuid::nil())).bind(limit).fetch_all(e))?)
}

impl From<OwnBanRow> for ExportedBan {
    fn from(OwnBanRow { room_id, at }: OwnBanRow) -> Self {
        Self { room_id: room_id.into(), at: at.into() }
    }
}

#[derive(sqlx::FromRow)]
pub struct OwnMessageRow {
    pub room_id: Uuid,
    #[sqlx(try_from = "i64")]
    pub seq: Seq,
    author_name: String,
    msg: String,
    at: DateTime<Utc>,
    edited_at: Option<DateTime<Utc>>,
}

pub async fn messages(
    state: &AppState,
    user: UserId,
    after: Option<(Uuid, Seq)>,
    limit: i64,
) -> Result<Vec<OwnMessageRow>, ApiError> {
    let (room, seq) = after.unwrap_or((Uuid::nil(), Seq::ZERO));
    Ok(on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT room_id, seq, author_name, msg, at, edited_at FROM message
         WHERE author_id = $1 AND (room_id, seq) > ($2, $3) AND deleted_at IS NULL
         ORDER BY room_id, seq LIMIT $4"
    ).bind(user.as_uuid()).bind(room).bind(i64::from(seq)).bind(limit).fetch_all(e))?)
}

impl From<OwnMessageRow> for ExportedMessage {
    fn from(row: OwnMessageRow) -> Self {
        let OwnMessageRow { room_id, seq, author_name, msg, at, edited_at } = row;
        let edited_at = edited_at.map(Into::into);
        Self { room_id: room_id.into(), seq, name: author_name, msg, at: at.into(), edited_at }
    }
}

#[derive(sqlx::FromRow)]
pub struct OwnReactionRow {
    room_id: Uuid,
    #[sqlx(try_from = "i64")]
    target: Seq,
    emoji: String,
}

impl OwnReactionRow {
    pub fn position(&self) -> (Uuid, Seq, String) {
        (self.room_id, self.target, self.emoji.clone())
    }
}

pub async fn reactions(
    state: &AppState,
    user: UserId,
    after: Option<(Uuid, Seq, String)>,
    limit: i64,
) -> Result<Vec<OwnReactionRow>, ApiError> {
    let (room, target, emoji) = after.unwrap_or((Uuid::nil(), Seq::ZERO, String::new()));
    Ok(on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT room_id, target, emoji FROM reaction
         WHERE user_id = $1 AND (room_id, target, emoji) > ($2, $3, $4) AND is_on
         ORDER BY room_id, target, emoji LIMIT $5"
    )
    .bind(user.as_uuid())
    .bind(room)
    .bind(i64::from(target))
    .bind(emoji)
    .bind(limit)
    .fetch_all(e))?)
}

impl From<OwnReactionRow> for ExportedReaction {
    fn from(OwnReactionRow { room_id, target, emoji }: OwnReactionRow) -> Self {
        Self { room_id: room_id.into(), target, emoji }
    }
}

#[derive(sqlx::FromRow)]
pub struct OwnFileRow {
    pub id: Uuid,
    room_id: Uuid,
    name: String,
    #[sqlx(try_from = "i64")]
    size: u64,
    media_type: String,
    created_at: DateTime<Utc>,
}

pub async fn files(
    state: &AppState,
    user: UserId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<OwnFileRow>, ApiError> {
    Ok(on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT id, room_id, name, size, media_type, created_at FROM file
         WHERE uploader_id = $1 AND id > $2 ORDER BY id LIMIT $3"
    ).bind(user.as_uuid()).bind(after.unwrap_or(Uuid::nil())).bind(limit).fetch_all(e))?)
}

impl From<OwnFileRow> for ExportedFile {
    fn from(row: OwnFileRow) -> Self {
        let OwnFileRow { id, room_id, name, size, media_type, created_at } = row;
        let file = FileRef { id: id.into(), name, size, media_type };
        Self { room_id: room_id.into(), file, created_at: created_at.into() }
    }
}

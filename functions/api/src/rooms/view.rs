//! A room as responses show it.

use protocol::{RoomId, Timestamp, UserId};
use serde::Serialize;

use crate::room_row::RoomRow;

/// A room.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    pub id: RoomId,
    pub name: String,
    pub title: Option<String>,
    /// Visible to members only.
    pub private: bool,
    /// Whether joining without an invitation requires the password.
    pub password_required: bool,
    pub creator_id: UserId,
    pub created_at: Timestamp,
}

impl From<RoomRow> for Room {
    fn from(row: RoomRow) -> Self {
        let RoomRow { id, name, title, private, has_password, creator_id, created_at, .. } = row;
        Self {
            id: id.into(),
            name,
            title,
            private,
            password_required: has_password,
            creator_id: creator_id.into(),
            created_at: created_at.into(),
        }
    }
}

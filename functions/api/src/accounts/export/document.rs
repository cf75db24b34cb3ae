//! The document of an export, for its schema; it is written list by list.

use protocol::{RoomId, Seq, Timestamp, stored::FileRef};
use serde::Serialize;

use crate::accounts::{sessions::Session, user::User};

/// All that is stored about a user. Messages of the last moment follow once they are archived.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Export {
    pub account: User,
    pub sessions: Vec<Session>,
    pub rooms: Vec<ExportedMembership>,
    /// Rooms that the user may not enter.
    pub bans: Vec<ExportedBan>,
    pub messages: Vec<ExportedMessage>,
    pub reactions: Vec<ExportedReaction>,
    pub files: Vec<ExportedFile>,
}

/// A room that the user is in.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedMembership {
    pub room_id: RoomId,
    pub room: String,
    pub role: String,
    pub joined_at: Timestamp,
    /// Up to where the user has read.
    #[schema(value_type = u64)]
    pub read_seq: Seq,
}

/// A room that the user may not enter.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedBan {
    pub room_id: RoomId,
    pub at: Timestamp,
}

/// A message of the user's.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedMessage {
    pub room_id: RoomId,
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// The name that it was sent under.
    pub name: String,
    pub msg: String,
    pub at: Timestamp,
    pub edited_at: Option<Timestamp>,
}

/// A reaction of the user's.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedReaction {
    pub room_id: RoomId,
    /// The message's seq.
    #[schema(value_type = u64)]
    pub target: Seq,
    pub emoji: String,
}

/// A file that the user has sent.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedFile {
    pub room_id: RoomId,
    pub file: FileRef,
    pub created_at: Timestamp,
}

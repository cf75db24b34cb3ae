//! The schema of the export document. [`Export`] itself is never built: the document is streamed list by list.

use protocol::{RoomId, Seq, Timestamp, stored::FileRef};
use serde::Serialize;

use crate::accounts::{sessions::Session, user::User};

/// All data stored about a user. Messages that are not archived yet are missing.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Export {
    pub account: User,
    pub sessions: Vec<Session>,
    pub rooms: Vec<ExportedMembership>,
    /// Rooms that the user is banned from.
    pub bans: Vec<ExportedBan>,
    pub messages: Vec<ExportedMessage>,
    pub reactions: Vec<ExportedReaction>,
    pub files: Vec<ExportedFile>,
}

/// A room that the user is a member of.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedMembership {
    pub room_id: RoomId,
    pub room: String,
    pub role: String,
    pub joined_at: Timestamp,
    /// The seq up to which the user has read the room.
    #[schema(value_type = u64)]
    pub read_seq: Seq,
}

/// A room that the user is banned from.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedBan {
    pub room_id: RoomId,
    pub at: Timestamp,
}

/// A message written by the user.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedMessage {
    pub room_id: RoomId,
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// The display name when the message was sent.
    pub name: String,
    pub msg: String,
    pub at: Timestamp,
    pub edited_at: Option<Timestamp>,
}

/// A reaction by the user.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedReaction {
    pub room_id: RoomId,
    /// The seq of the message.
    #[schema(value_type = u64)]
    pub target: Seq,
    pub emoji: String,
}

/// A file uploaded by the user.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedFile {
    pub room_id: RoomId,
    pub file: FileRef,
    pub created_at: Timestamp,
}

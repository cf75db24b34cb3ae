//! A message as responses show it: with its edits, deletion and reactions applied.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use protocol::{
    DisplayName, Emoji, MessageText, RoomId, Seq, Timestamp, limits,
    name::Stored as _,
    stored::{FileRef, Message, Person},
};
use serde::Serialize;
use store::{
    accounts::DELETED_NAME,
    db::{self, Database, HeldConnection, on_held},
};
use uuid::Uuid;

use crate::{
    error::ApiError,
    pagination::{Page, PageItem},
    room_row::RoomRow,
    state::AppState,
};

/// A message in its current state.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageView {
    pub room_id: RoomId,
    #[schema(value_type = u64)]
    pub seq: Seq,
    #[serde(flatten)]
    pub message: Message,
    /// Time of the last edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// Set if the message was deleted. Text is empty and the file missing then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reactions>,
}

pub type MessagePage = Page<MessageView>;

impl PageItem for MessageView {
    const PAGE: &'static str = "MessagePage";
}

/// How many users reacted with one emoji.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Reactions {
    pub emoji: Emoji,
    pub count: u64,
    /// Whether the caller is one of them.
    pub mine: bool,
}

/// Columns of the table `message`.
#[derive(sqlx::FromRow)]
pub struct ArchivedMessage {
    #[sqlx(try_from = "i64")]
    pub seq: Seq,
    id: Uuid,
    pub author_id: Uuid,
    author_name: String,
    msg: String,
    file: Option<String>,
    reply_to: Option<i64>,
    at: DateTime<Utc>,
    edited_at: Option<DateTime<Utc>>,
    deleted_at: Option<DateTime<Utc>>,
}

fn invalid(field: &str) -> ApiError {
    ApiError::Internal(anyhow::anyhow!("an archived message has an invalid {field}"))
}

/// Parses the column `file` of a message.
pub fn parse_file(json: Option<&str>) -> Result<Option<FileRef>, ApiError> {
    json.map(serde_json::from_str).transpose().map_err(|_| invalid("file"))
}

/// Authors whose accounts are deleted. Their messages are shown with [`DELETED_NAME`], because the old name may still
/// be stored in messages.
#[derive(Default)]
pub struct DeletedAuthors(HashSet<Uuid>);

impl DeletedAuthors {
    /// Looks up which of the authors are deleted, in one statement.
    pub async fn among(
        state: &AppState,
        authors: impl IntoIterator<Item = Uuid>,
    ) -> Result<Self, ApiError> {
        let authors: HashSet<Uuid> = authors.into_iter().collect();
        if authors.is_empty() {
            return Ok(Self::default());
        }
        let deleted: Vec<Uuid> = match &state.store.database {
            Database::Postgres(pool) => {
                let authors: Vec<Uuid> = authors.into_iter().collect();
                on_held!(HeldConnection::postgres(pool), e => sqlx::query_scalar(
                    "SELECT id FROM account WHERE deleted_at IS NOT NULL AND id = ANY($1)"
                ).bind(authors).fetch_all(e))
            }
            Database::Sqlite(pool) => {
                let authors: Vec<String> =
                    authors.iter().map(|id| id.simple().to_string()).collect();
                on_held!(HeldConnection::sqlite(pool), e => sqlx::query_scalar(
                    "SELECT id FROM account WHERE deleted_at IS NOT NULL
                     AND id IN (SELECT unhex(value) FROM json_each($1))"
                ).bind(sqlx::types::Json(authors)).fetch_all(e))
            }
        }?;
        Ok(Self(deleted.into_iter().collect()))
    }

    /// The name to show for the author of a message.
    pub fn display_name(&self, author: Uuid, name: &str) -> DisplayName {
        DisplayName::from_stored(if self.0.contains(&author) { DELETED_NAME } else { name })
    }
}

impl MessageView {
    /// The view of a message just sent: no changes yet.
    pub fn sent(room: RoomId, seq: Seq, message: Message) -> Self {
        let (edited_at, deleted_at, reactions) = (None, None, Vec::new());
        Self { room_id: room, seq, message, edited_at, deleted_at, reactions }
    }

    /// The view of an archived message, without its reactions.
    pub fn archived(
        room: &RoomRow,
        row: ArchivedMessage,
        deleted_authors: &DeletedAuthors,
    ) -> Result<Self, ApiError> {
        let file = parse_file(row.file.as_deref())?;
        let name = deleted_authors.display_name(row.author_id, &row.author_name);
        let message = Message {
            id: row.id.into(),
            from: Person { id: row.author_id.into(), name },
            msg: row.msg.parse().map_err(|_| invalid("text"))?,
            at: row.at.into(),
            file,
            reply_to: db::optional_seq(row.reply_to)?,
        };
        let mut item = Self::sent(room.room_id(), row.seq, message);
        item.edited_at = row.edited_at.map(Timestamp::from);
        item.deleted_at = row.deleted_at.map(Timestamp::from);
        Ok(item)
    }

    pub fn author(&self) -> Uuid {
        self.message.from.id.as_uuid()
    }

    /// Changes the text, unless the message is deleted.
    pub fn edit(&mut self, msg: MessageText, at: Timestamp) {
        if self.deleted_at.is_none() {
            self.message.msg = msg;
            self.edited_at = Some(at);
        }
    }

    /// Marks the message as deleted: removes text, file and reactions.
    pub fn delete(&mut self, at: Timestamp) -> Result<(), ApiError> {
        self.message.msg = MessageText::parse("").map_err(|_| invalid("text"))?;
        self.message.file = None;
        self.reactions.clear();
        self.deleted_at.get_or_insert(at);
        Ok(())
    }

    /// Adds or removes one reaction.
    pub fn react(&mut self, emoji: &Emoji, on: bool, mine: bool) {
        if self.deleted_at.is_some() {
            return;
        }
        let is_full = self.reactions.len() >= limits::REACTION_KINDS;
        let found = self.reactions.iter_mut().find(|reactions| reactions.emoji == *emoji);
        match found {
            Some(reactions) => {
                reactions.count =
                    if on { reactions.count + 1 } else { reactions.count.saturating_sub(1) };
                reactions.mine = if mine { on } else { reactions.mine };
            }
            // Further kinds are not shown ([`limits::REACTION_KINDS`]).
            None if on && !is_full => {
                self.reactions.push(Reactions { emoji: emoji.clone(), count: 1, mine });
            }
            None => {}
        }
        self.reactions.retain(|reactions| reactions.count > 0);
    }
}

#[cfg(test)]
mod tests {
    use protocol::{MessageId, UserId};

    use super::*;

    fn item() -> MessageView {
        let from = Person { id: UserId::generate(), name: "Ada".parse().unwrap() };
        let (msg, at) = ("hello".parse().unwrap(), Timestamp::now());
        let (id, file, reply_to) = (MessageId::generate(), None, None);
        MessageView::sent(
            RoomId::generate(),
            7.into(),
            Message { id, from, msg, at, file, reply_to },
        )
    }

    #[test]
    fn reactions_are_counted_and_removed_at_zero() {
        let (mut item, emoji) = (item(), Emoji::parse("👍").unwrap());
        item.react(&emoji, true, false);
        item.react(&emoji, true, true);
        assert_eq!(item.reactions, [Reactions { emoji: emoji.clone(), count: 2, mine: true }]);
        item.react(&emoji, false, true);
        assert_eq!(item.reactions, [Reactions { emoji: emoji.clone(), count: 1, mine: false }]);
        item.react(&emoji, false, false);
        item.react(&emoji, false, false);
        assert_eq!(item.reactions, []);
    }

    #[test]
    fn the_number_of_reaction_kinds_is_limited() {
        let mut item = item();
        let emoji =
            |n: u32| Emoji::parse(&char::from_u32(0x1F600 + n).unwrap().to_string()).unwrap();
        (0..50).for_each(|n| item.react(&emoji(n), true, false));
        assert_eq!(item.reactions.len(), limits::REACTION_KINDS);
        item.react(&emoji(3), true, true);
        assert_eq!(item.reactions[3].count, 2, "an existing kind is still counted");
    }

    #[test]
    fn a_deleted_message_ignores_later_changes() {
        let (mut item, at) = (item(), Timestamp::now());
        item.edit("bye".parse().unwrap(), at);
        assert_eq!((item.message.msg.as_str(), item.edited_at), ("bye", Some(at)));
        item.delete(at).unwrap();
        item.edit("back".parse().unwrap(), at);
        item.react(&Emoji::parse("👍").unwrap(), true, true);
        assert_eq!((item.message.msg.as_str(), item.deleted_at), ("", Some(at)));
        assert_eq!(item.reactions, []);
    }
}

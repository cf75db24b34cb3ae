//! The reactions to a page of archived messages.

use std::collections::HashMap;

use protocol::{Emoji, Seq, UserId, limits, name::Stored as _};
use store::db::on_db;
use uuid::Uuid;

use super::{
    unarchived::UnarchivedTail,
    view::{MessageView, Reactions},
};
use crate::{error::ApiError, room_row::RoomRow, state::AppState};

/// Users whose unarchived reactions are compared with their archived ones: one statement each. Reactions of further
/// users show once they are archived.
const USERS_MAX: usize = 50;

/// The most reactions that one user can have to the messages of a page.
const REACTIONS_PER_USER: i64 = (limits::REACTION_KINDS * (limits::PAGE_MAX as usize + 1)) as i64;

#[derive(sqlx::FromRow)]
struct ReactionCount {
    #[sqlx(try_from = "i64")]
    target: Seq,
    emoji: String,
    #[sqlx(try_from = "i64")]
    count: u64,
    /// 1 if the caller is among the users, else 0: the databases have no common boolean aggregate.
    mine: i64,
}

#[derive(sqlx::FromRow)]
struct ReactionRow {
    #[sqlx(try_from = "i64")]
    target: Seq,
    emoji: String,
    is_on: bool,
}

/// Adds the archived reactions and the tail's changes to consecutive archived messages of a room.
pub async fn add(
    state: &AppState,
    room: &RoomRow,
    items: &mut [MessageView],
    tail: &UnarchivedTail,
) -> Result<(), ApiError> {
    let (Some(first), Some(last)) = (items.first(), items.last()) else { return Ok(()) };
    let (first, last) = (first.seq, last.seq);
    let counts: Vec<ReactionCount> = on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT target, emoji, count, mine FROM (
           SELECT target, emoji, COUNT(*) AS count,
             CAST(MAX(CASE WHEN user_id = $4 THEN 1 ELSE 0 END) AS BIGINT) AS mine,
             ROW_NUMBER() OVER (PARTITION BY target ORDER BY MIN(seq)) AS place
           FROM reaction WHERE room_id = $1 AND target >= $2 AND target <= $3 AND is_on
           GROUP BY target, emoji
         ) kinds WHERE place <= $5 ORDER BY target, place"
    )
    .bind(room.id)
    .bind(i64::from(first))
    .bind(i64::from(last))
    .bind(tail.me().as_uuid())
    .bind(limits::REACTION_KINDS as i64)
    .fetch_all(e))?;
    for ReactionCount { target, emoji, count, mine } in counts {
        let index = items.binary_search_by_key(&target, |item| item.seq);
        let item = index.ok().and_then(|index| items.get_mut(index));
        // A deleted message has no reactions.
        let Some(item) = item.filter(|item| item.deleted_at.is_none()) else { continue };
        let (emoji, mine) = (Emoji::from_stored(&emoji), mine > 0);
        // Rows of one emoji may be stored in several forms until the archive has normalised them.
        match item.reactions.iter_mut().find(|reactions| reactions.emoji == emoji) {
            Some(reactions) => {
                reactions.count += count;
                reactions.mine |= mine;
            }
            None => item.reactions.push(Reactions { emoji, count, mine }),
        }
    }
    let mut archived_states: HashMap<(Seq, UserId, Emoji), bool> = HashMap::new();
    for user in tail.reacting_users(first, last).into_iter().take(USERS_MAX) {
        let id: Uuid = user.into();
        let archived: Vec<ReactionRow> = on_db!(&state.store.database, e => sqlx::query_as(
            "SELECT target, emoji, is_on FROM reaction
             WHERE user_id = $2 AND room_id = $1 AND target >= $3 AND target <= $4 LIMIT $5"
        )
        .bind(room.id)
        .bind(id)
        .bind(i64::from(first))
        .bind(i64::from(last))
        .bind(REACTIONS_PER_USER)
        .fetch_all(e))?;
        for ReactionRow { target, emoji, is_on } in archived {
            let emoji = Emoji::from_stored(&emoji);
            archived_states.insert((target, user, emoji), is_on);
        }
    }
    for item in items {
        let seq = item.seq;
        tail.apply(item, |user, emoji| {
            archived_states.get(&(seq, user, emoji.clone())).copied().unwrap_or(false)
        })?;
    }
    Ok(())
}

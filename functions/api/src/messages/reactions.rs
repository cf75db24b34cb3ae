//! The reactions to a page of archived messages.

use std::collections::HashMap;

use protocol::{Emoji, Seq, UserId, limits};
use store::db::on_db;
use uuid::Uuid;

use super::{
    unarchived::UnarchivedTail,
    view::{MessageView, Reactions},
};
use crate::{error::ApiError, room_row::RoomRow, state::AppState};

/// Users whose unarchived reactions are looked up; those of others show once they are archived.
const RECENT: usize = 50;

/// Reactions of one user to the messages of a page.
const OF_A_USER: i64 = (limits::REACTION_KINDS * (limits::PAGE_MAX as usize + 1)) as i64;

#[derive(sqlx::FromRow)]
struct Count {
    #[sqlx(try_from = "i64")]
    target: Seq,
    emoji: String,
    #[sqlx(try_from = "i64")]
    count: u64,
    mine: i64,
}

#[derive(sqlx::FromRow)]
struct Archived {
    #[sqlx(try_from = "i64")]
    target: Seq,
    emoji: String,
    is_on: bool,
}

/// Adds archived reactions and the tail's changes to consecutive messages of a room.
pub async fn add(
    state: &AppState,
    room: &RoomRow,
    items: &mut [MessageView],
    tail: &UnarchivedTail,
) -> Result<(), ApiError> {
    let (Some(first), Some(last)) = (items.first(), items.last()) else { return Ok(()) };
    let (first, last) = (first.seq, last.seq);
    let counts: Vec<Count> = on_db!(&state.store.database, e => sqlx::query_as(
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
    for Count { target, emoji, count, mine } in counts {
        let place = items.binary_search_by_key(&target, |item| item.seq);
        let item = place.ok().and_then(|index| items.get_mut(index));
        // A deleted message has no reactions.
        if let (Some(item), Ok(emoji)) =
            (item.filter(|it| it.deleted_at.is_none()), Emoji::parse(&emoji))
        {
            item.reactions.push(Reactions { emoji, count, mine: mine > 0 });
        }
    }
    let mut before: HashMap<(Seq, UserId, String), bool> = HashMap::new();
    for user in tail.reacting(first, last).into_iter().take(RECENT) {
        let id: Uuid = user.into();
        let archived: Vec<Archived> = on_db!(&state.store.database, e => sqlx::query_as(
            "SELECT target, emoji, is_on FROM reaction
             WHERE user_id = $2 AND room_id = $1 AND target >= $3 AND target <= $4 LIMIT $5"
        )
        .bind(room.id)
        .bind(id)
        .bind(i64::from(first))
        .bind(i64::from(last))
        .bind(OF_A_USER)
        .fetch_all(e))?;
        for Archived { target, emoji, is_on } in archived {
            before.insert((target, user, emoji), is_on);
        }
    }
    for item in items {
        let seq = item.seq;
        tail.apply(item, |user, emoji| {
            before.get(&(seq, user, emoji.as_str().to_owned())).copied().unwrap_or(false)
        })?;
    }
    Ok(())
}

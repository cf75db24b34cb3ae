//! Limits a message to the first [`REACTION_KINDS`] different emoji. Without the limit, one message could fill the
//! table and every page that shows it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{RoomId, Seq, limits::REACTION_KINDS};
use store::db::{self, Tx};
use uuid::Uuid;

use super::batch_rows::{BatchRows, ReactionKey};

/// The different emoji of each message.
type EmojiByMessage = BTreeMap<(RoomId, Seq), BTreeSet<String>>;

/// The different emoji of messages. A recursive query jumps from emoji to emoji in the index, because each may have
/// any number of rows.
const KINDS_IN_POSTGRES: &str = "
    SELECT t.room_id, t.target, k.emoji
    FROM UNNEST($1::uuid[], $2::bigint[]) AS t (room_id, target) CROSS JOIN LATERAL (
      WITH RECURSIVE kinds (emoji) AS (
        SELECT MIN(r.emoji) FROM reaction r WHERE r.room_id = t.room_id AND r.target = t.target
        UNION ALL
        SELECT (SELECT MIN(r.emoji) FROM reaction r
                WHERE r.room_id = t.room_id AND r.target = t.target AND r.emoji > kinds.emoji)
        FROM kinds WHERE kinds.emoji IS NOT NULL
      ) SELECT emoji FROM kinds WHERE emoji IS NOT NULL LIMIT $3
    ) k";
/// The same for one message: SQLite has no `LATERAL`, and its statements cost no round trip.
const KINDS_IN_SQLITE: &str = "
    WITH RECURSIVE kinds (emoji) AS (
      SELECT MIN(r.emoji) FROM reaction r WHERE r.room_id = $1 AND r.target = $2
      UNION ALL
      SELECT (SELECT MIN(r.emoji) FROM reaction r
              WHERE r.room_id = $1 AND r.target = $2 AND r.emoji > kinds.emoji)
      FROM kinds WHERE kinds.emoji IS NOT NULL
    ) SELECT emoji FROM kinds WHERE emoji IS NOT NULL LIMIT $3";

/// Drops the reactions of a batch that exceed the limit.
pub async fn apply(tx: &mut Tx, rows: &mut BatchRows) -> sqlx::Result<()> {
    let targets: BTreeSet<(RoomId, Seq)> =
        rows.reactions.keys().map(|(room, target, ..)| (*room, *target)).collect();
    if targets.is_empty() {
        return Ok(());
    }
    let kinds = existing(tx, &targets).await?;
    let dropped = retain_first(&mut rows.reactions, kinds);
    metrics::counter!("chat_archive_reactions_dropped_total").increment(dropped as u64);
    Ok(())
}

async fn existing(tx: &mut Tx, targets: &BTreeSet<(RoomId, Seq)>) -> sqlx::Result<EmojiByMessage> {
    let mut kinds = EmojiByMessage::new();
    let limit = REACTION_KINDS as i64;
    match tx {
        Tx::Postgres(transaction) => {
            let rooms: Vec<Uuid> = targets.iter().map(|(room, _)| room.as_uuid()).collect();
            let seqs: Vec<i64> = targets.iter().map(|(_, target)| i64::from(*target)).collect();
            let found: Vec<(Uuid, i64, String)> = sqlx::query_as(KINDS_IN_POSTGRES)
                .bind(rooms)
                .bind(seqs)
                .bind(limit)
                .fetch_all(&mut **transaction)
                .await?;
            for (room, target, emoji) in found {
                kinds.entry((room.into(), db::seq(target)?)).or_default().insert(emoji);
            }
        }
        Tx::Sqlite(transaction) => {
            for (room, target) in targets {
                let found: Vec<String> = sqlx::query_scalar(KINDS_IN_SQLITE)
                    .bind(room.as_uuid())
                    .bind(i64::from(*target))
                    .bind(limit)
                    .fetch_all(&mut **transaction)
                    .await?;
                kinds.insert((*room, *target), found.into_iter().collect());
            }
        }
    }
    Ok(kinds)
}

/// Keeps the first emoji in the order of their events. Returns how many reactions are dropped.
fn retain_first(
    reactions: &mut BTreeMap<ReactionKey, (Seq, bool)>,
    mut kinds: EmojiByMessage,
) -> usize {
    let mut in_order: Vec<(Seq, ReactionKey)> =
        reactions.iter().map(|(key, (seq, _))| (*seq, key.clone())).collect();
    in_order.sort_unstable_by_key(|(seq, _)| *seq);
    let before = reactions.len();
    for (_, key) in in_order {
        let (room, target, _, emoji) = &key;
        let known = kinds.entry((*room, *target)).or_default();
        if known.contains(emoji.as_str()) {
            continue;
        }
        if known.len() < REACTION_KINDS {
            known.insert(emoji.as_str().to_owned());
        } else {
            reactions.remove(&key);
        }
    }
    before - reactions.len()
}

#[cfg(test)]
mod tests {
    use protocol::{Emoji, UserId};

    use super::*;

    fn emoji(n: u32) -> Emoji {
        Emoji::parse(&char::from_u32(0x1F600 + n).unwrap().to_string()).unwrap()
    }

    #[test]
    fn reactions_beyond_the_first_twenty_emoji_are_dropped() {
        let (room, ada, bob) = (RoomId::generate(), UserId::generate(), UserId::generate());
        let mut reactions = BTreeMap::new();
        for n in 0..40_u32 {
            reactions.insert((room, 1.into(), ada, emoji(n)), (n.into(), true));
            reactions.insert((room, 2.into(), ada, emoji(n)), ((100 - n).into(), true));
        }
        reactions.insert((room, 1.into(), bob, emoji(19)), (50.into(), true));
        reactions.insert((room, 1.into(), bob, emoji(39)), (51.into(), false));
        // The second message has one already.
        let kinds = [((room, 2.into()), [emoji(0).as_str().to_owned()].into())].into();
        assert_eq!(retain_first(&mut reactions, kinds), 20 + 1 + 20);
        let of = |message: u32| {
            let message = Seq::from(message);
            let of_message = reactions.keys().filter(|(_, target, ..)| *target == message);
            of_message.map(|(.., user, emoji)| (*user, emoji.clone())).collect::<BTreeSet<_>>()
        };
        let first: BTreeSet<_> =
            (0..20).map(|n| (ada, emoji(n))).chain([(bob, emoji(19))]).collect();
        assert_eq!(of(1), first);
        let last: BTreeSet<_> = (21..40).chain([0]).map(|n| (ada, emoji(n))).collect();
        assert_eq!(of(2), last);
    }
}

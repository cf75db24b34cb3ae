//! Brute-force protection for passwords, across all instances: failures are counted in the database.
//!
//! Two counters per attempt. For accounts: account *and* client network, and the network alone. For rooms:
//! room and user, and the user alone. The account alone is never counted, so a stranger cannot lock its
//! owner out. An attempt counts as failed before the password is verified, so that concurrent attempts
//! gain nothing; a right password discounts it.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use protocol::{RoomName, UserId};
use service::client;
use sha2::{Digest as _, Sha256};

use crate::{
    StoreError, Throttled,
    db::{Database, Tx, on_tx},
    hash_queue::Requester,
    password::{ClaimedPassword, Hasher},
};

/// Failures at one account from one network before the first wait: people mistype.
const FREE_AT_ONE: i64 = 5;
/// Failures from one network, or of one user, at any target: many people can share a network.
const FREE_FROM_ONE: i64 = 100;
/// The first wait; each further failure doubles it.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// Sentinel for "not blocked". The epoch rather than "now", because instances' clocks differ.
const NOT_BLOCKED: DateTime<Utc> = DateTime::UNIX_EPOCH;
/// A counter is forgotten this long after its last failure. That of a network or user alone is forgotten
/// this long after its first one: among many people somebody always mistypes.
pub const FORGET_AFTER: TimeDelta = TimeDelta::hours(1);

/// One attempt to log in, or to join a room by its password, with the keys of its two counters. Keys are
/// hashes, so the table does not reveal who connects from where.
pub struct LoginAttempt {
    /// The client network, or the user.
    from: Vec<u8>,
    /// The network or user together with the target. A right password resets this counter only.
    at: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct Counted {
    key: Vec<u8>,
    failures: i64,
    blocked_until: DateTime<Utc>,
}

pub(crate) fn key(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

/// The client's network as part of a key.
pub(crate) fn network(address: IpAddr) -> Vec<u8> {
    match client::network(address) {
        IpAddr::V4(network) => network.octets().to_vec(),
        IpAddr::V6(network) => network.octets()[..8].to_vec(),
    }
}

fn wait(failures: i64, free: i64) -> Duration {
    let Some(over) = failures.checked_sub(free).filter(|over| *over >= 0) else {
        return Duration::ZERO;
    };
    let doubled = 1_u32.checked_shl(over.min(31) as u32).unwrap_or(u32::MAX);
    FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT)
}

impl LoginAttempt {
    /// The password of the account with this name, whether there is one or not.
    pub fn account(name: &str, from: IpAddr) -> Self {
        let network = network(from);
        let at = key(&[b"account", name.as_bytes(), &network]);
        Self { from: key(&[b"address", &network]), at }
    }

    /// The password of a room, by somebody who is logged in.
    pub fn room(room: &RoomName, by: UserId) -> Self {
        let by = by.as_uuid();
        let at = key(&[b"room", room.as_str().as_bytes(), by.as_bytes()]);
        Self { from: key(&[b"user", by.as_bytes()]), at }
    }

    /// Counts the attempt, or refuses it and writes nothing.
    pub async fn admit(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let now = Utc::now();
        // The row locks serialise attempts, so each sees the one before. They are always taken in this
        // order, so that two attempts do not deadlock.
        let counted: Vec<Counted> = on_tx!(tx, e => sqlx::query_as(
            "INSERT INTO attempt AS a (key, failures, last_at, blocked_until)
             SELECT key, 1, $3, $5 FROM (SELECT $1 AS key UNION ALL SELECT $2) AS guess
             WHERE NOT EXISTS (SELECT 1 FROM attempt WHERE key IN ($1, $2) AND blocked_until > $3)
             ON CONFLICT (key) DO UPDATE SET
               last_at = CASE WHEN a.key = $1 AND a.last_at >= $4 THEN a.last_at ELSE $3 END,
               failures = CASE WHEN a.last_at < $4 THEN 1 ELSE a.failures + 1 END
             RETURNING key, failures, blocked_until"
        )
        .bind(&self.from)
        .bind(&self.at)
        .bind(now)
        .bind(now - FORGET_AFTER)
        .bind(NOT_BLOCKED)
        .fetch_all(e))?;
        if counted.is_empty() {
            let until: Option<Option<DateTime<Utc>>> = on_tx!(tx, e => sqlx::query_scalar(
                "SELECT MAX(blocked_until) FROM attempt WHERE key IN ($1, $2)"
            ).bind(&self.from).bind(&self.at).fetch_optional(e))?;
            return Err(refusal(until.flatten().unwrap_or(now), now).into());
        }
        for Counted { key, failures, blocked_until } in counted {
            // A concurrent attempt was counted first.
            if blocked_until > now {
                return Err(refusal(blocked_until, now).into());
            }
            let free = if key == self.at { FREE_AT_ONE } else { FREE_FROM_ONE };
            let wait = wait(failures, free);
            if !wait.is_zero() {
                on_tx!(tx, e => sqlx::query("UPDATE attempt SET blocked_until = $2 WHERE key = $1")
                    .bind(key).bind(now + wait).execute(e))?;
            }
        }
        Ok(())
    }

    /// Verifies an admitted attempt. If the hash queue refuses it, the attempt is discounted.
    pub async fn verify(
        &self,
        (database, hasher): (&Database, &Hasher),
        requester: Requester,
        password: ClaimedPassword,
        hash: Option<String>,
    ) -> Result<bool, StoreError> {
        let verified = hasher.verify(requester, password, hash).await;
        self.unless_failed(database, verified).await
    }

    /// Discounts the attempt if the operation it belongs to failed for another reason than the password.
    pub async fn unless_failed<T, E: From<StoreError>>(
        &self,
        database: &Database,
        done: Result<T, E>,
    ) -> Result<T, E> {
        if done.is_err() {
            self.discard(database).await?;
        }
        done
    }

    async fn discard(&self, database: &Database) -> Result<(), StoreError> {
        let mut tx = database.begin().await?;
        self.take_back(&mut tx, false).await?;
        Ok(tx.commit().await?)
    }

    /// The password was right: discounts the attempt, in the transaction that it belongs to.
    pub async fn succeeded(&self, tx: &mut Tx) -> Result<(), StoreError> {
        self.take_back(tx, true).await
    }

    /// Restores the counters of before the attempt. With `forgive`, earlier failures at the same target are
    /// forgotten too.
    async fn take_back(&self, tx: &mut Tx, forgive: bool) -> Result<(), StoreError> {
        // An UPDATE would take the two row locks in any order.
        on_tx!(tx, e => sqlx::query(
            "INSERT INTO attempt AS a (key, failures, last_at, blocked_until)
             VALUES ($1, 0, $3, $4), ($2, 0, $3, $4)
             ON CONFLICT (key) DO UPDATE SET blocked_until = $4,
               failures = CASE WHEN a.failures = 0 OR ($5 AND a.key = $2) THEN 0 ELSE a.failures - 1 END"
        )
        .bind(&self.from)
        .bind(&self.at)
        .bind(Utc::now())
        .bind(NOT_BLOCKED)
        .bind(forgive)
        .execute(e))?;
        Ok(())
    }
}

fn refusal(until: DateTime<Utc>, now: DateTime<Utc>) -> Throttled {
    metrics::counter!("throttled_guesses_total").increment(1);
    // Never zero: the block may have ended since it was read.
    let wait = (until - now).to_std().unwrap_or_default();
    Throttled { wait: wait.max(FIRST_WAIT) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        let seconds: Vec<u64> = (3..=9).map(|failures| wait(failures, 5).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 16]);
        assert_eq!(wait(i64::MAX, 5), LONGEST_WAIT);
    }

    #[test]
    fn nobody_is_told_to_wait_no_time() {
        for until in [NOT_BLOCKED, Utc::now(), Utc::now() + TimeDelta::milliseconds(1)] {
            let refusal = refusal(until, Utc::now());
            assert!(refusal.wait >= FIRST_WAIT);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_guesser_and_a_mapped_address_its_ipv4() {
        let key = |address: &str| LoginAttempt::account("ada", address.parse().unwrap()).at;
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    proptest! {
        #[test]
        fn keys_do_not_run_into_each_other(a in "[a-c]{0,3}", b in "[a-c]{0,3}", c in "[a-c]{0,3}", d in "[a-c]{0,3}") {
            let key = |parts: [&str; 2]| key(&parts.map(str::as_bytes));
            prop_assert_eq!(key([&a, &b]) == key([&c, &d]), (a, b) == (c, d));
        }
    }
}

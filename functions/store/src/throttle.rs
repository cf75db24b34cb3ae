//! Brute-force protection for passwords. Failed attempts are counted in the database, so that all instances share the
//! counters.
//!
//! An attempt has two counters. For an account: of account *and* client network, and of the network alone. For a room:
//! of room and user, and of the user alone. There is no counter of the account alone, so that a stranger cannot lock
//! its owner out. An attempt counts as failed before the password is verified, so that concurrent attempts have no
//! advantage. A right password removes it from the counters.

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

/// Failures at one target from one network or user before the first wait, because people mistype.
const FREE_PER_TARGET: i64 = 5;
/// Failures from one network or user at any target before the first wait. More, because many people can share a
/// network.
const FREE_PER_CLIENT: i64 = 100;
/// The first wait. Each further failure doubles it.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// Sentinel for "not blocked". The epoch rather than "now", because instances' clocks differ.
const NOT_BLOCKED: DateTime<Utc> = DateTime::UNIX_EPOCH;
/// A counter restarts this long after its last failure. The counter of a network or user alone restarts this long after
/// its first failure: in a network of many people there is always a recent one.
pub const FORGET_AFTER: TimeDelta = TimeDelta::hours(1);

/// An attempt to log in or to join a room by its password, with the keys of its two counters. Keys are hashes, so that
/// the table does not reveal the networks of users.
pub struct LoginAttempt {
    /// Key of the client network or user.
    client_key: Vec<u8>,
    /// Key of the network or user together with the target. A right password resets this counter only.
    target_key: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct CounterRow {
    key: Vec<u8>,
    failures: i64,
    blocked_until: DateTime<Utc>,
}

/// Hashes the parts with their lengths, so that different parts have different keys.
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
    /// An attempt at the password of an account, which may not exist.
    pub fn account(name: &str, from: IpAddr) -> Self {
        let network = network(from);
        let target_key = key(&[b"account", name.as_bytes(), &network]);
        Self { client_key: key(&[b"address", &network]), target_key }
    }

    /// A user's attempt at the password of a room.
    pub fn room(room: &RoomName, by: UserId) -> Self {
        let by = by.as_uuid();
        let target_key = key(&[b"room", room.key().as_bytes(), by.as_bytes()]);
        Self { client_key: key(&[b"user", by.as_bytes()]), target_key }
    }

    /// Counts the attempt as failed, or refuses it and writes nothing.
    pub async fn admit(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let now = Utc::now();
        // The row locks serialize attempts, so that each reads the count of the one before. The locks are always taken
        // in this order, so that two attempts do not deadlock.
        let counters: Vec<CounterRow> = on_tx!(tx, e => sqlx::query_as(
            "INSERT INTO attempt AS a (key, failures, last_at, blocked_until)
             SELECT key, 1, $3, $5 FROM (SELECT $1 AS key UNION ALL SELECT $2) AS keys
             WHERE NOT EXISTS (SELECT 1 FROM attempt WHERE key IN ($1, $2) AND blocked_until > $3)
             ON CONFLICT (key) DO UPDATE SET
               last_at = CASE WHEN a.key = $1 AND a.last_at >= $4 THEN a.last_at ELSE $3 END,
               failures = CASE WHEN a.last_at < $4 THEN 1 ELSE a.failures + 1 END
             RETURNING key, failures, blocked_until"
        )
        .bind(&self.client_key)
        .bind(&self.target_key)
        .bind(now)
        .bind(now - FORGET_AFTER)
        .bind(NOT_BLOCKED)
        .fetch_all(e))?;
        if counters.is_empty() {
            let until: Option<Option<DateTime<Utc>>> = on_tx!(tx, e => sqlx::query_scalar(
                "SELECT MAX(blocked_until) FROM attempt WHERE key IN ($1, $2)"
            ).bind(&self.client_key).bind(&self.target_key).fetch_optional(e))?;
            return Err(throttled(until.flatten().unwrap_or(now), now).into());
        }
        for CounterRow { key, failures, blocked_until } in counters {
            // A concurrent attempt was counted first and blocked this one.
            if blocked_until > now {
                return Err(throttled(blocked_until, now).into());
            }
            let free = if key == self.target_key { FREE_PER_TARGET } else { FREE_PER_CLIENT };
            let wait = wait(failures, free);
            if !wait.is_zero() {
                on_tx!(tx, e => sqlx::query("UPDATE attempt SET blocked_until = $2 WHERE key = $1")
                    .bind(key).bind(now + wait).execute(e))?;
            }
        }
        Ok(())
    }

    /// Verifies the password of an admitted attempt. If the hash queue refuses it, the attempt does not count.
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

    /// Removes the attempt from the counters if its operation failed for another reason than the password.
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
        self.uncount(&mut tx, false).await?;
        Ok(tx.commit().await?)
    }

    /// To be called if the password was right, in the transaction of the attempt's operation. Removes the attempt from
    /// the counters and resets the counter of the target.
    pub async fn succeeded(&self, tx: &mut Tx) -> Result<(), StoreError> {
        self.uncount(tx, true).await
    }

    /// Removes the attempt from the counters. With `resets_target`, earlier failures at the same target are forgotten
    /// too.
    async fn uncount(&self, tx: &mut Tx, resets_target: bool) -> Result<(), StoreError> {
        // Not an UPDATE, which would take the two row locks in any order.
        on_tx!(tx, e => sqlx::query(
            "INSERT INTO attempt AS a (key, failures, last_at, blocked_until)
             VALUES ($1, 0, $3, $4), ($2, 0, $3, $4)
             ON CONFLICT (key) DO UPDATE SET blocked_until = $4,
               failures = CASE WHEN a.failures = 0 OR ($5 AND a.key = $2) THEN 0 ELSE a.failures - 1 END"
        )
        .bind(&self.client_key)
        .bind(&self.target_key)
        .bind(Utc::now())
        .bind(NOT_BLOCKED)
        .bind(resets_target)
        .execute(e))?;
        Ok(())
    }
}

fn throttled(until: DateTime<Utc>, now: DateTime<Utc>) -> Throttled {
    metrics::counter!("chat_logins_throttled_total").increment(1);
    // Not zero, although the block may have ended since it was read.
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
    fn the_wait_is_never_zero() {
        for until in [NOT_BLOCKED, Utc::now(), Utc::now() + TimeDelta::milliseconds(1)] {
            assert!(throttled(until, Utc::now()).wait >= FIRST_WAIT);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_a_mapped_address_is_its_ipv4_address() {
        let key = |address: &str| LoginAttempt::account("ada", address.parse().unwrap()).target_key;
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn the_password_of_a_room_is_guessed_in_any_case() {
        let by = UserId::generate();
        let at = |name: &str| LoginAttempt::room(&RoomName::parse(name).unwrap(), by).target_key;
        assert_eq!(at("Lobby"), at("LOBBY"));
        assert_ne!(at("Lobby"), at("Lobby-2"));
    }

    proptest! {
        #[test]
        fn different_parts_have_different_keys(
            a in "[a-c]{0,3}", b in "[a-c]{0,3}", c in "[a-c]{0,3}", d in "[a-c]{0,3}"
        ) {
            let key = |parts: [&str; 2]| key(&parts.map(str::as_bytes));
            prop_assert_eq!(key([&a, &b]) == key([&c, &d]), (a, b) == (c, d));
        }
    }
}

//! Guessing passwords is slow, whichever instance is asked: failures are counted in the database.
//!
//! What is counted is who is guessed at *from where*, and from where as such; of rooms, which only users
//! guess at, by whom. An account as such is never blocked, so nobody can lock its owner out from
//! elsewhere. A try counts as failed before the password is looked at, so that many at once gain
//! nothing, and is taken back when it was right.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use protocol::{RoomName, UserId};
use service::client;
use sha2::{Digest as _, Sha256};

use crate::{
    StoreError,
    db::{Database, Tx, on_tx},
    hash_queue::Requester,
    password::{ClaimedPassword, Hasher},
};

/// Wrong passwords of one account from one address before the first wait: a person mistypes.
const FREE_AT_ONE: i64 = 5;
/// Failures from one address, or of one user, whatever they are for: many people can share one.
const FREE_FROM_ONE: i64 = 100;
/// The first wait; each further failure doubles it.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// Until when who waits for nothing has to wait. Not the time of the try: another one, by another clock or
/// held up on its way here, could have an earlier one.
const NOT_BLOCKED: DateTime<Utc> = DateTime::UNIX_EPOCH;
/// After so long without a try at the same, it is as if there had been none. Of an address or a user, after
/// so long since the first that counts: among many there is always one who mistypes.
pub const FORGET_AFTER: TimeDelta = TimeDelta::hours(1);

/// Too many attempts: the next one is admitted after this time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; the next one is admitted in {wait:?}")]
pub struct Throttled {
    pub wait: Duration,
}

/// One try to guess something, and what it counts for. Each key is a hash: the table says nothing about
/// who comes from where.
pub struct Guess {
    /// Who guesses.
    from: Vec<u8>,
    /// Who guesses at what. A right password proves that they know it; of others it proves nothing.
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

impl Guess {
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

    /// Counts the try, or refuses it for now: then nothing is written.
    pub async fn admit(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let now = Utc::now();
        // The rows' locks let one try after the other through, so each sees the one before. They are
        // taken in this order, so that two never wait for each other.
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
            // Another try was faster.
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

    /// Whether an admitted try was right. If nobody had the time to look, it was none.
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

    /// Takes the try back if what it is for has failed: that says nothing of the password.
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

    /// The password was right: the try is taken back, in the transaction that it is for.
    pub async fn succeeded(&self, tx: &mut Tx) -> Result<(), StoreError> {
        self.take_back(tx, true).await
    }

    /// Leaves things as they were before an admitted try; `forgive` those before it at the same, too.
    async fn take_back(&self, tx: &mut Tx, forgive: bool) -> Result<(), StoreError> {
        // An update would take the two locks in any order.
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
    // Never "in no time": it may have been forgiven since it was looked at.
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
        let key = |address: &str| Guess::account("ada", address.parse().unwrap()).at;
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

//! Guessing passwords is slow, whichever instance is asked: failures are counted in the database.
//!
//! What is counted is who is guessed at *from where*, and from where as such. An account as such is
//! never blocked, so nobody can lock its owner out from elsewhere. A try counts as failed before the
//! password is looked at, so that many at once gain nothing, and is taken back when it was right.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use protocol::{RoomName, UserId};
use sha2::{Digest as _, Sha256};

use crate::{
    db::{Database, Tx, on_db, on_tx},
    error::ApiError,
};

/// Wrong passwords of one account from one address before the first wait: a person mistypes.
const FREE_AT_ONE: i64 = 5;
/// Failures from one address, whatever they are for: many people can share one.
const FREE_FROM_ADDRESS: i64 = 100;
/// The first wait; each further failure doubles it.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// After so long without a failure it is as if there had been none.
pub const FORGET_AFTER: TimeDelta = TimeDelta::hours(1);

/// One try to guess something, and what it counts for.
pub struct Guess {
    counted: Vec<Counter>,
}

struct Counter {
    /// A hash: the table says nothing about who comes from where.
    key: Vec<u8>,
    free: i64,
    /// A right password proves that whoever comes from there knows it; an address proves nothing.
    forgiven: bool,
}

#[derive(sqlx::FromRow)]
struct Counted {
    failures: i64,
    blocked_until: DateTime<Utc>,
}

impl Counter {
    fn new(free: i64, forgiven: bool, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self { key: hash.finalize().to_vec(), free, forgiven }
    }
}

/// An address as a guesser's: of IPv6, everybody has a whole network (RFC 6177).
fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
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
        // A fixed order, so that two never wait for each other.
        let counted = vec![
            Counter::new(FREE_FROM_ADDRESS, false, &[b"address", &network]),
            Counter::new(FREE_AT_ONE, true, &[b"account", name.as_bytes(), &network]),
        ];
        Self { counted }
    }

    /// The password of a room, by somebody who is logged in.
    pub fn room(room: &RoomName, by: UserId) -> Self {
        let by = by.as_uuid();
        let counter =
            Counter::new(FREE_AT_ONE, true, &[b"room", room.as_str().as_bytes(), by.as_bytes()]);
        Self { counted: vec![counter] }
    }

    /// Counts the try, or refuses it for now.
    pub async fn admit(&self, database: &Database) -> Result<(), ApiError> {
        let now = Utc::now();
        // Who is blocked costs one look and writes nothing.
        for counter in &self.counted {
            let until: Option<DateTime<Utc>> = on_db!(database, e => sqlx::query_scalar(
                "SELECT blocked_until FROM attempt WHERE key = $1"
            ).bind(&counter.key).fetch_optional(e))?;
            refuse_until(until, now)?;
        }
        let mut tx = database.begin().await?;
        for counter in &self.counted {
            counter.count(&mut tx, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The password was right: the try is taken back, in the transaction that it is for.
    pub async fn succeeded(&self, tx: &mut Tx) -> Result<(), ApiError> {
        for Counter { key, forgiven, .. } in &self.counted {
            if *forgiven {
                on_tx!(tx, e => sqlx::query("DELETE FROM attempt WHERE key = $1").bind(key).execute(e))?;
            } else {
                on_tx!(tx, e => sqlx::query(
                    "UPDATE attempt SET failures = failures - 1, blocked_until = last_at
                     WHERE key = $1 AND failures > 0"
                ).bind(key).execute(e))?;
            }
        }
        Ok(())
    }
}

impl Counter {
    /// The row's lock lets one try after the other through, so each sees the one before.
    async fn count(&self, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), ApiError> {
        let Counted { failures, blocked_until } = on_tx!(tx, e => sqlx::query_as(
            "INSERT INTO attempt AS a (key, failures, last_at, blocked_until) VALUES ($1, 1, $2, $2)
             ON CONFLICT (key) DO UPDATE SET last_at = $2,
               failures = CASE WHEN a.last_at < $3 THEN 1 ELSE a.failures + 1 END
             RETURNING failures, blocked_until"
        ).bind(&self.key).bind(now).bind(now - FORGET_AFTER).fetch_optional(e))?
        .ok_or(ApiError::Unavailable("the database"))?;
        refuse_until(Some(blocked_until), now)?;
        let wait = wait(failures, self.free);
        if !wait.is_zero() {
            on_tx!(tx, e => sqlx::query("UPDATE attempt SET blocked_until = $2 WHERE key = $1")
                .bind(&self.key).bind(now + wait).execute(e))?;
        }
        Ok(())
    }
}

fn refuse_until(until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), ApiError> {
    let left = until.and_then(|until| (until - now).to_std().ok()).filter(|left| !left.is_zero());
    left.map_or(Ok(()), |left| {
        metrics::counter!("throttled_guesses_total").increment(1);
        Err(ApiError::TooManyAttempts(left))
    })
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
    fn a_network_of_ipv6_is_one_guesser_and_a_mapped_address_its_ipv4() {
        let key =
            |address: &str| Guess::account("ada", address.parse().unwrap()).counted[1].key.clone();
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    proptest! {
        #[test]
        fn keys_do_not_run_into_each_other(a in "[a-c]{0,3}", b in "[a-c]{0,3}", c in "[a-c]{0,3}", d in "[a-c]{0,3}") {
            let key = |parts: [&str; 2]| Counter::new(1, true, &parts.map(str::as_bytes)).key;
            prop_assert_eq!(key([&a, &b]) == key([&c, &d]), (a, b) == (c, d));
        }
    }
}

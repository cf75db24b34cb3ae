//! Passwords: argon2id, off the async threads, a bounded number at once.

use std::{borrow::Cow, sync::Arc, time::Duration};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use protocol::limits;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::error::ApiError;

/// OWASP's parameters for argon2id: 19 MiB, 2 passes, 1 lane
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How long a login waits for its turn; then it is told to come back.
const TURN_WITHIN: Duration = Duration::from_secs(5);
/// How many may wait for each one that is served: as many as get their turn in half that time.
const WAITING_FOR_EACH: usize = 100;
/// The hash of a password nobody has: an unknown name costs the time of a known one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2R5$\
    Ib6VDL0OXXmkKrYSoF0nBuAYLwfpQhC/GjA9WrWcZ7E";

/// A password that may be chosen: 8 to 128 characters of any kind. It cannot be printed.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "Cow<'_, str>")]
#[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
pub struct NewPassword(SecretString);

impl TryFrom<Cow<'_, str>> for NewPassword {
    type Error = String;
    fn try_from(text: Cow<'_, str>) -> Result<Self, String> {
        of_length(text, limits::PASSWORD_CHARS).map(Self)
    }
}

/// The password of a room: 1 to 128 characters; it is told to many and opens no account.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "Cow<'_, str>")]
#[schema(value_type = String, format = Password, min_length = 1, max_length = 128)]
pub struct RoomPassword(SecretString);

impl TryFrom<Cow<'_, str>> for RoomPassword {
    type Error = String;
    fn try_from(text: Cow<'_, str>) -> Result<Self, String> {
        of_length(text, 1..=*limits::PASSWORD_CHARS.end()).map(Self)
    }
}

fn of_length(
    text: Cow<'_, str>,
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<SecretString, String> {
    let chars = text.chars().count();
    if allowed.contains(&chars) {
        return Ok(text.into_owned().into());
    }
    Err(format!("must have {} to {} characters, has {chars}", allowed.start(), allowed.end()))
}

/// A password to be hashed.
pub trait Chosen: Send + 'static {
    fn secret(self) -> SecretString;
}

impl Chosen for NewPassword {
    fn secret(self) -> SecretString {
        self.0
    }
}

impl Chosen for RoomPassword {
    fn secret(self) -> SecretString {
        self.0
    }
}

/// A password that somebody claims to be theirs.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String, format = Password)]
pub struct ClaimedPassword(SecretString);

/// Hashes and verifies.
#[derive(Clone)]
pub struct Hasher {
    turns: Arc<Semaphore>,
    /// Places of those who are served and those who wait.
    places: Arc<Semaphore>,
}

impl Hasher {
    /// At most `at_once` at a time, and a bounded number that wait for it.
    pub fn new(at_once: usize) -> Self {
        let places = at_once.saturating_mul(1 + WAITING_FOR_EACH).min(Semaphore::MAX_PERMITS);
        Self { turns: Arc::new(Semaphore::new(at_once)), places: Arc::new(Semaphore::new(places)) }
    }

    /// The hash to store, in PHC string format.
    pub async fn hash(&self, password: impl Chosen) -> Result<String, ApiError> {
        let password = password.secret();
        self.run(move || {
            let hash = argon2()?.hash_password(password.expose_secret().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| anyhow::anyhow!("argon2: {error}"))
        })
        .await
    }

    /// Whether the password belongs to the hash; without a hash, no, after the same time.
    pub async fn verify(
        &self,
        password: ClaimedPassword,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        self.run(move || {
            let text = hash.as_deref().unwrap_or(NOBODY);
            let parsed = PasswordHash::new(text).map_err(|error| anyhow::anyhow!("{error}"))?;
            let password = password.0.expose_secret();
            // A longer one was never chosen; its length must not cost us time.
            let is_possible = password.len() <= 4 * limits::PASSWORD_CHARS.end();
            let password = if is_possible { password } else { "" };
            let is_right = argon2()?.verify_password(password.as_bytes(), &parsed).is_ok();
            Ok(is_right && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let busy = || {
            metrics::counter!("password_hashing_refused_total").increment(1);
            ApiError::Busy
        };
        let place = self.places.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = tokio::time::timeout(TURN_WITHIN, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(busy()) };
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((turn, place));
            result
        });
        done.await.map_err(|error| ApiError::Internal(error.into()))?.map_err(ApiError::Internal)
    }
}

fn argon2() -> anyhow::Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
    Ok(Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_takes_its_password_and_no_other() {
        let hasher = Hasher::new(1);
        let new: NewPassword = serde_json::from_str("\"correct horse\"").unwrap();
        let claimed = |text: &str| ClaimedPassword(text.to_owned().into());
        let hash = hasher.hash(new).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify(claimed("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify(claimed("wrong horse"), Some(hash)).await.unwrap());
        assert!(!hasher.verify(claimed("anything"), None).await.unwrap());
    }

    #[tokio::test]
    async fn beyond_the_queue_it_is_refused_at_once() {
        let hasher = Hasher::new(1);
        let claimed = || ClaimedPassword("anything".to_owned().into());
        let _turn = hasher.turns.clone().acquire_owned().await.unwrap();
        let waiting: Vec<_> = (0..=WAITING_FOR_EACH)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.verify(claimed(), None).await })
            })
            .collect();
        while hasher.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = tokio::time::timeout(TURN_WITHIN / 10, hasher.verify(claimed(), None)).await;
        assert!(matches!(refused, Ok(Err(ApiError::Busy))));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[test]
    fn a_new_password_has_its_length_and_is_never_printed() {
        for bad in ["1234567", &"x".repeat(129)] {
            assert!(serde_json::from_str::<NewPassword>(&format!("{bad:?}")).is_err());
        }
        let new: NewPassword = serde_json::from_str("\"hunter2hunter2\"").unwrap();
        assert!(!format!("{new:?}").contains("hunter2"));
    }
}

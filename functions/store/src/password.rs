//! Passwords: argon2id, off the async threads, a bounded number at once ([`crate::hash_queue`]).

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
};

use argon2::{
    Argon2, Block, Params,
    password_hash::phc::{Output, PasswordHash},
};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use protocol::limits;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::{
    StoreError,
    hash_queue::{HashQueue, Requester},
};

/// OWASP's parameters for argon2id: 19 MiB, 2 passes, 1 lane
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// RFC 9106, section 3.1: 16 bytes of salt for passwords; 32 of the hash.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
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
    queue: HashQueue,
    /// The memory of those who are not being served: taken anew for each password, its 4,864 pages
    /// would cost as much as the hash.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
}

impl Hasher {
    /// At most `at_once` at a time, and a bounded number that wait for it.
    pub fn new(at_once: usize) -> Self {
        Self { queue: HashQueue::new(at_once), memory: Arc::default() }
    }

    /// The hash to store, in PHC string format.
    pub async fn hash(
        &self,
        requester: Requester,
        password: impl Chosen,
    ) -> Result<String, StoreError> {
        let password = password.secret();
        self.run(requester, move |memory| {
            let salt: [u8; SALT_BYTES] = rand::random();
            let mut hash = [0; HASH_BYTES];
            fill(&usual()?, password.expose_secret(), &salt, &mut hash, memory)?;
            let [salt, hash] = [&salt[..], &hash[..]].map(|it| BASE64_STANDARD_NO_PAD.encode(it));
            Ok(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}"))
        })
        .await
    }

    /// Whether the password belongs to the hash; without a hash, no, after the same time.
    pub async fn verify(
        &self,
        requester: Requester,
        password: ClaimedPassword,
        hash: Option<String>,
    ) -> Result<bool, StoreError> {
        self.run(requester, move |memory| {
            let text = hash.as_deref().unwrap_or(NOBODY);
            let password = password.0.expose_secret();
            // A longer one was never chosen; its length must not cost us time.
            let is_possible = password.len() <= 4 * limits::PASSWORD_CHARS.end();
            let password = if is_possible { password } else { "" };
            Ok(is_of(password, text, memory)? && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        requester: Requester,
        work: impl FnOnce(&mut Vec<Block>) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let slot = self.queue.slot(requester).await?;
        let memory = self.memory.clone();
        let done = tokio::task::spawn_blocking(move || {
            let free = || memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // As many as there are slots, and no more.
            let mut own = free().pop().unwrap_or_default();
            let result = work(&mut own);
            free().push(own);
            drop(slot);
            result
        });
        done.await
            .map_err(|error| StoreError::Internal(error.into()))?
            .map_err(StoreError::Internal)
    }
}

fn usual() -> anyhow::Result<Params> {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES))
        .map_err(|error| anyhow::anyhow!("argon2: {error}"))
}

/// Argon2id of a password into `hash`, in memory that is kept.
fn fill(
    params: &Params,
    password: &str,
    salt: &[u8],
    hash: &mut [u8],
    memory: &mut Vec<Block>,
) -> anyhow::Result<()> {
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params.clone());
    memory.resize(params.block_count(), Block::new());
    argon2
        .hash_password_into_with_memory(password.as_bytes(), salt, hash, memory)
        .map_err(|error| anyhow::anyhow!("argon2: {error}"))
}

/// Whether a password is the one of a hash in PHC string format, which names its own parameters.
fn is_of(password: &str, text: &str, memory: &mut Vec<Block>) -> anyhow::Result<bool> {
    let broken = |error: &dyn std::fmt::Display| anyhow::anyhow!("a stored hash: {error}");
    let parsed = PasswordHash::new(text).map_err(|error| broken(&error))?;
    let params = Params::try_from(&parsed).map_err(|error| broken(&error))?;
    let (Some(salt), Some(expected)) = (&parsed.salt, &parsed.hash) else {
        return Err(broken(&"without salt or hash"));
    };
    let mut hash = vec![0; expected.len()];
    fill(&params, password, salt, &mut hash, memory)?;
    let found = Output::new(&hash).map_err(|error| broken(&error))?;
    // Compared in constant time.
    Ok(found == *expected)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the schema says of a text's length, and whether the parser took it.
    fn described<T: for<'a> TryFrom<Cow<'a, str>> + utoipa::PartialSchema>(
        text: &str,
    ) -> (bool, bool) {
        let schema = serde_json::json!(T::schema());
        let bound = |name: &str| schema[name].as_u64().unwrap() as usize;
        let allowed = bound("minLength")..=bound("maxLength");
        (allowed.contains(&text.chars().count()), T::try_from(text.into()).is_ok())
    }

    proptest! {
        #[test]
        fn a_password_is_any_text_of_the_length_in_the_schema(text in "(?s).{0,10}|(?s).{120,135}") {
            let (may_be, is) = described::<NewPassword>(&text);
            prop_assert_eq!(may_be, is);
            let (may_be, is) = described::<RoomPassword>(&text);
            prop_assert_eq!(may_be, is);
        }
    }

    #[tokio::test]
    async fn a_hash_takes_its_password_and_no_other() {
        let (hasher, me) = (Hasher::new(1), Requester::User(protocol::UserId::generate()));
        let new: NewPassword = serde_json::from_str("\"correct horse\"").unwrap();
        let claimed = |text: &str| ClaimedPassword(text.to_owned().into());
        let hash = hasher.hash(me, new).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify(me, claimed("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify(me, claimed("wrong horse"), Some(hash)).await.unwrap());
        assert!(!hasher.verify(me, claimed("anything"), None).await.unwrap());
        assert_eq!(hasher.memory.lock().unwrap().len(), 1, "it is kept and not taken anew");
    }

    #[tokio::test]
    async fn hashes_of_the_argon2_crate_itself_and_of_other_parameters_are_taken() {
        use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
        let other = Argon2::from(Params::new(64, 1, 1, None).unwrap());
        let theirs = other.hash_password(b"correct horse").unwrap().to_string();
        let (hasher, me) = (Hasher::new(1), Requester::User(protocol::UserId::generate()));
        let claimed = |text: &str| ClaimedPassword(text.to_owned().into());
        // After a bigger one, whose memory is kept.
        let new: NewPassword = serde_json::from_str("\"correct horse\"").unwrap();
        let ours = hasher.hash(me, new).await.unwrap();
        assert!(hasher.verify(me, claimed("correct horse"), Some(theirs.clone())).await.unwrap());
        assert!(!hasher.verify(me, claimed("wrong horse"), Some(theirs)).await.unwrap());
        let parsed = PasswordHash::new(&ours).unwrap();
        assert!(other.verify_password(b"correct horse", &parsed).is_ok());
        let broken = Some("$argon2id$v=19$m=64,t=1,p=1".to_owned());
        assert!(hasher.verify(me, claimed("correct horse"), broken).await.is_err());
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

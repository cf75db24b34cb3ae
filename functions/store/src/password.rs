//! Password hashing with argon2id, on blocking threads, with bounded concurrency ([`crate::hash_queue`]).

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
/// The lengths that RFC 9106, section 3.1, recommends for passwords.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Verified for unknown names, so that the response time does not reveal whether an account exists.
const DUMMY_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2R5$\
    Ib6VDL0OXXmkKrYSoF0nBuAYLwfpQhC/GjA9WrWcZ7E";

/// A new password of an account: 8 to 128 characters of any kind. A secret, so it is not printed.
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

/// A new password of a room: 1 to 128 characters. It may be shorter, because its members share it and it protects no
/// account.
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

/// A password that can be hashed, because its length was checked.
pub trait HashablePassword: Send + 'static {
    fn into_secret(self) -> SecretString;
}

impl HashablePassword for NewPassword {
    fn into_secret(self) -> SecretString {
        self.0
    }
}

impl HashablePassword for RoomPassword {
    fn into_secret(self) -> SecretString {
        self.0
    }
}

/// A password to verify, of any length.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String, format = Password)]
pub struct ClaimedPassword(SecretString);

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Clone)]
pub struct Hasher {
    queue: HashQueue,
    /// Working memory that is not in use, one per slot at most. It is kept, because to allocate its 4,864 pages for
    /// each password costs as much as the hash.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
}

impl Hasher {
    /// Hashes at most `max_concurrent` passwords at the same time.
    pub fn new(max_concurrent: usize) -> Self {
        Self { queue: HashQueue::new(max_concurrent), memory: Arc::default() }
    }

    /// Hashes a password with a random salt. Returns the PHC string to store.
    pub async fn hash(
        &self,
        requester: Requester,
        password: impl HashablePassword,
    ) -> Result<String, StoreError> {
        let password = password.into_secret();
        self.run(requester, move |memory| {
            let salt: [u8; SALT_BYTES] = rand::random();
            let mut hash = [0; HASH_BYTES];
            hash_into(&default_params()?, password.expose_secret(), &salt, &mut hash, memory)?;
            let [salt, hash] =
                [&salt[..], &hash[..]].map(|bytes| BASE64_STANDARD_NO_PAD.encode(bytes));
            Ok(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}"))
        })
        .await
    }

    /// Whether the password matches the hash. Without a hash: false, after the same time.
    pub async fn verify(
        &self,
        requester: Requester,
        password: ClaimedPassword,
        hash: Option<String>,
    ) -> Result<bool, StoreError> {
        self.run(requester, move |memory| {
            let text = hash.as_deref().unwrap_or(DUMMY_HASH);
            let password = password.0.expose_secret();
            // No stored hash has a longer password, and hashing megabytes would take long. A character has at most
            // 4 bytes.
            let is_possible = password.len() <= 4 * limits::PASSWORD_CHARS.end();
            let password = if is_possible { password } else { "" };
            Ok(matches(password, text, memory)? && hash.is_some())
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

fn default_params() -> anyhow::Result<Params> {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES))
        .map_err(|error| anyhow::anyhow!("argon2: {error}"))
}

/// Writes the argon2id hash of a password into `hash`. Reuses `memory`.
fn hash_into(
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

/// Whether a password matches a hash in PHC string format, with the parameters in that string.
fn matches(password: &str, text: &str, memory: &mut Vec<Block>) -> anyhow::Result<bool> {
    let invalid =
        |error: &dyn std::fmt::Display| anyhow::anyhow!("a stored hash is invalid: {error}");
    let parsed = PasswordHash::new(text).map_err(|error| invalid(&error))?;
    let params = Params::try_from(&parsed).map_err(|error| invalid(&error))?;
    let (Some(salt), Some(expected)) = (&parsed.salt, &parsed.hash) else {
        return Err(invalid(&"it has no salt or no hash"));
    };
    let mut hash = vec![0; expected.len()];
    hash_into(&params, password, salt, &mut hash, memory)?;
    let found = Output::new(&hash).map_err(|error| invalid(&error))?;
    // Compared in constant time.
    Ok(found == *expected)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether the schema allows the text's length, and whether the parser accepts the text.
    fn allowed_and_parsed<T: for<'a> TryFrom<Cow<'a, str>> + utoipa::PartialSchema>(
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
            let (is_allowed, is_parsed) = allowed_and_parsed::<NewPassword>(&text);
            prop_assert_eq!(is_allowed, is_parsed);
            let (is_allowed, is_parsed) = allowed_and_parsed::<RoomPassword>(&text);
            prop_assert_eq!(is_allowed, is_parsed);
        }
    }

    #[tokio::test]
    async fn a_hash_matches_its_password_and_no_other() {
        let (hasher, me) = (Hasher::new(1), Requester::User(protocol::UserId::generate()));
        let new: NewPassword = serde_json::from_str("\"correct horse\"").unwrap();
        let claimed = |text: &str| ClaimedPassword(text.to_owned().into());
        let hash = hasher.hash(me, new).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify(me, claimed("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify(me, claimed("wrong horse"), Some(hash)).await.unwrap());
        assert!(!hasher.verify(me, claimed("anything"), None).await.unwrap());
        assert_eq!(hasher.memory.lock().unwrap().len(), 1, "it is reused");
    }

    #[tokio::test]
    async fn hashes_of_the_high_level_api_and_of_other_parameters_are_verified() {
        use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
        let other = Argon2::from(Params::new(64, 1, 1, None).unwrap());
        let theirs = other.hash_password(b"correct horse").unwrap().to_string();
        let (hasher, me) = (Hasher::new(1), Requester::User(protocol::UserId::generate()));
        let claimed = |text: &str| ClaimedPassword(text.to_owned().into());
        // First a larger one, whose memory is kept.
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
    fn a_new_password_has_an_allowed_length_and_is_never_printed() {
        for bad in ["1234567", &"x".repeat(129)] {
            assert!(serde_json::from_str::<NewPassword>(&format!("{bad:?}")).is_err());
        }
        let new: NewPassword = serde_json::from_str("\"hunter2hunter2\"").unwrap();
        assert!(!format!("{new:?}").contains("hunter2"));
    }
}

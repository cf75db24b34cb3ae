//! Tokens. An access token authenticates a user, a room ticket authorises a user to join a room.
//!
//! Both are JWTs (RFC 7519) signed with Ed25519 (RFC 8037). The claim `typ` distinguishes them, so neither is
//! accepted in place of the other. Functions hold the private key and sign. Gateways hold the public keys
//! (RFC 7517) and can only verify.

mod sign;
mod verification_keys;
mod verify;

use serde::{Deserialize, Serialize};

pub use self::{
    sign::{Lifetimes, Minter, SigningKeyError},
    verification_keys::{VerificationKeys, VerificationKeysError},
    verify::Verifier,
};
use crate::{DisplayName, Role, RoomId, SessionId, UserId, name::Stored};

/// `iss` and `aud` of every token. Deployments differ by their keys.
const ISSUER: &str = "chatting-room";

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    #[serde(rename = "sub")]
    pub user: UserId,
    #[serde(rename = "sid")]
    pub session: SessionId,
    /// Seconds since the Unix epoch.
    pub exp: i64,
}

/// The claims of a room ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    #[serde(rename = "sub")]
    pub user: UserId,
    #[serde(rename = "sid")]
    pub session: SessionId,
    pub room: RoomId,
    pub role: Role,
    /// The room's version when the role was read. A newer [`crate::subject::MemberState`] overrides the role. 0
    /// in tickets of old versions, which lack it.
    #[serde(rename = "ver", default)]
    pub version: u64,
    /// The user's display name, so that the gateway needs no database.
    #[serde(deserialize_with = "Stored::deserialize_stored")]
    pub name: DisplayName,
    /// Seconds since the Unix epoch.
    pub exp: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "typ", rename_all = "lowercase")]
enum Claims {
    Access(Access),
    Ticket(Ticket),
}

#[derive(Serialize)]
struct Signed<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    #[serde(flatten)]
    claims: Claims,
}

/// Why a token is refused. Contains no part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token has expired")]
    Expired,
    #[error("not a token of this system")]
    Invalid,
    /// The key is not among the public keys, which may have changed since they were fetched.
    #[error("the token is signed by an unknown key")]
    UnknownKey,
    #[error("a token of another kind is needed here")]
    WrongKind,
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::JwkSet};
    use proptest::prelude::*;

    use super::*;
    use crate::Timestamp;

    /// The public example key of RFC 8410.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";

    fn minter() -> Minter {
        Minter::from_pem(&PEM.into()).unwrap()
    }

    #[test]
    fn neither_kind_is_accepted_as_the_other() {
        let minter = minter();
        let verifier = Verifier::new(minter.jwks());
        let (user, session) = (UserId::generate(), SessionId::generate());
        let token = minter.access(user, session).unwrap();
        let access = verifier.access(&token).unwrap();
        assert_eq!((access.user, access.session), (user, session));
        assert_eq!(verifier.ticket(&token), Err(TokenError::WrongKind));

        let name = DisplayName::parse("Ada").unwrap();
        let room = RoomId::generate();
        let ticket = minter.ticket(&access, name, room, Role::Owner, 7).unwrap();
        let claims = verifier.ticket(&ticket).unwrap();
        assert_eq!((claims.room, claims.role, claims.version), (room, Role::Owner, 7));
        assert_eq!(verifier.access(&ticket), Err(TokenError::WrongKind));
    }

    #[test]
    fn expired_forged_and_foreign_tokens_are_refused() {
        let minter = minter();
        let verifier = Verifier::new(minter.jwks());
        let (user, session) = (UserId::generate(), SessionId::generate());
        let past = Timestamp::now().unix() - 60;
        let expired = minter.access_until(user, session, past).unwrap();
        assert_eq!(verifier.access(&expired), Err(TokenError::Expired));

        let token = minter.access(user, session).unwrap();
        let (head, signature) = token.rsplit_once('.').unwrap();
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{head}.{flipped}{}", &signature[1..]);
        assert_eq!(verifier.access(&forged), Err(TokenError::Invalid));

        let no_keys = Verifier::new(&JwkSet { keys: vec![] });
        assert_eq!(no_keys.access(&token), Err(TokenError::UnknownKey));
        for text in ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert_eq!(verifier.access(text), Err(TokenError::Invalid), "{text}");
        }
    }

    proptest! {
        /// Replaces any character of header, claims or signature.
        #[test]
        fn a_token_with_any_change_is_refused(at: prop::sample::Index, with in "[ -~]|한") {
            let minter = minter();
            let token = minter.access(UserId::generate(), SessionId::generate()).unwrap();
            let at = at.index(token.len());
            let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
            let verifier = Verifier::new(minter.jwks());
            prop_assert_eq!(verifier.access(&changed).is_ok(), changed == token, "{}", changed);
        }

        #[test]
        fn no_other_text_is_a_token(
            text in "\\PC{0,60}|[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}",
        ) {
            let verifier = Verifier::new(minter().jwks());
            prop_assert!(verifier.access(&text).is_err() && verifier.ticket(&text).is_err());
        }
    }

    #[test]
    fn the_public_key_cannot_be_used_as_a_shared_secret() {
        let minter = minter();
        let verifier = Verifier::new(minter.jwks());
        let public = serde_json::to_string(&minter.jwks().keys[0]).unwrap();
        let kid = minter.jwks().keys[0].common.key_id.clone();
        let header = Header { kid, ..Header::new(Algorithm::HS256) };
        let exp = Timestamp::now().unix() + 60;
        let access = Access { user: UserId::generate(), session: SessionId::generate(), exp };
        let signed = Signed { iss: ISSUER, aud: ISSUER, iat: 0, claims: Claims::Access(access) };
        let key = EncodingKey::from_secret(public.as_bytes());
        let confused = jsonwebtoken::encode(&header, &signed, &key).unwrap();
        assert_eq!(verifier.access(&confused), Err(TokenError::Invalid));
    }
}

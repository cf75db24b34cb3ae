//! Tokens. An access token authenticates a user, a room ticket authorises a user to join a room.
//!
//! Both are JWTs (RFC 7519) signed with Ed25519 (RFC 8037). The claim `typ` distinguishes them, so neither is
//! accepted in place of the other. Functions hold the private key and sign. Gateways hold the public keys
//! (RFC 7517) and can only verify.

use std::collections::HashMap;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    errors::ErrorKind,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{DisplayName, Role, RoomId, SessionId, Timestamp, UserId, limits};

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

/// Why a token is refused. Contains nothing of the token.
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

/// The signing key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "not an Ed25519 private key in PKCS#8 PEM (`openssl genpkey -algorithm ed25519` makes one)"
)]
pub struct SigningKeyError;

/// Lifetimes of new tokens in seconds, within [`limits::TOKEN_SECONDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    pub access: i64,
    pub ticket: i64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { access: limits::ACCESS_TOKEN_SECONDS, ticket: limits::TICKET_SECONDS }
    }
}

/// Signs tokens with the private key.
pub struct Minter {
    header: Header,
    key: EncodingKey,
    public: JwkSet,
    lifetimes: Lifetimes,
}

impl Minter {
    /// Parses an Ed25519 private key in PKCS#8 PEM. The key's id is its thumbprint (RFC 7638).
    pub fn from_pem(pem: &SecretString) -> Result<Self, SigningKeyError> {
        let key = EncodingKey::from_ed_pem(pem.expose_secret().as_bytes())
            .map_err(|_| SigningKeyError)?;
        let mut jwk =
            Jwk::from_encoding_key(&key, Algorithm::EdDSA).map_err(|_| SigningKeyError)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| SigningKeyError)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let header = Header { kid: Some(kid), ..Header::new(Algorithm::EdDSA) };
        let lifetimes = Lifetimes::default();
        Ok(Self { header, key, public: JwkSet { keys: vec![jwk] }, lifetimes })
    }

    pub fn with_lifetimes(self, lifetimes: Lifetimes) -> Self {
        Self { lifetimes, ..self }
    }

    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// The public key, as `/.well-known/jwks.json` serves it.
    pub fn jwks(&self) -> &JwkSet {
        &self.public
    }

    pub fn access(&self, user: UserId, session: SessionId) -> Result<String, TokenError> {
        let exp = Timestamp::now().unix() + self.lifetimes.access;
        self.sign(Claims::Access(Access { user, session, exp }))
    }

    /// A new room ticket. `role` and `version` must have been read from the database together.
    pub fn ticket(
        &self,
        by: &Access,
        name: DisplayName,
        room: RoomId,
        role: Role,
        version: u64,
    ) -> Result<String, TokenError> {
        let exp = Timestamp::now().unix() + self.lifetimes.ticket;
        let Access { user, session, .. } = *by;
        self.sign(Claims::Ticket(Ticket { user, session, room, role, version, name, exp }))
    }

    /// An access token with any expiry, for tests.
    #[doc(hidden)]
    pub fn access_until(
        &self,
        user: UserId,
        session: SessionId,
        exp: i64,
    ) -> Result<String, TokenError> {
        self.sign(Claims::Access(Access { user, session, exp }))
    }

    /// See [`Self::access_until`].
    #[doc(hidden)]
    pub fn sign_ticket(&self, ticket: Ticket) -> Result<String, TokenError> {
        self.sign(Claims::Ticket(ticket))
    }

    fn sign(&self, claims: Claims) -> Result<String, TokenError> {
        let iat = Timestamp::now().unix();
        let signed = Signed { iss: ISSUER, aud: ISSUER, iat, claims };
        jsonwebtoken::encode(&self.header, &signed, &self.key).map_err(|_| TokenError::Invalid)
    }
}

/// Verifies tokens with the public keys.
#[derive(Clone)]
pub struct Verifier {
    keys: HashMap<String, DecodingKey>,
    validation: Validation,
}

impl Verifier {
    /// Uses the Ed25519 keys of a set and ignores all others: a token must not choose the algorithm.
    pub fn new(jwks: &JwkSet) -> Self {
        let is_ours =
            |jwk: &&Jwk| jwk.common.key_algorithm == Some(jsonwebtoken::jwk::KeyAlgorithm::EdDSA);
        let keys =
            jwks.keys.iter().filter(is_ours).filter_map(|jwk| {
                Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?))
            });
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Seconds. Servers' clocks differ by less, and a longer leeway would extend every lifetime.
        validation.leeway = 2;
        Self { keys: keys.collect(), validation }
    }

    /// Verifies an access token.
    pub fn access(&self, token: &str) -> Result<Access, TokenError> {
        match self.claims(token)? {
            Claims::Access(access) => Ok(access),
            Claims::Ticket(_) => Err(TokenError::WrongKind),
        }
    }

    /// Whether a token is signed by a key that is not among the public keys, by its unverified header.
    pub fn lacks_key_of(&self, token: &str) -> bool {
        let kid = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid);
        kid.is_some_and(|kid| !self.keys.contains_key(&kid))
    }

    /// Verifies a room ticket.
    pub fn ticket(&self, token: &str) -> Result<Ticket, TokenError> {
        match self.claims(token)? {
            Claims::Ticket(ticket) => Ok(ticket),
            Claims::Access(_) => Err(TokenError::WrongKind),
        }
    }

    fn claims(&self, token: &str) -> Result<Claims, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let kid = header.kid.ok_or(TokenError::Invalid)?;
        let key = self.keys.get(&kid).ok_or(TokenError::UnknownKey)?;
        jsonwebtoken::decode(token, key, &self.validation).map(|data| data.claims).map_err(
            |error| match error.kind() {
                ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A key of RFC 8410's example, known to the world and used for nothing.
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
        /// Whichever character of header, claims or signature is another one.
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
        fn no_other_text_is_a_token(text in "\\PC{0,60}|[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
            let verifier = Verifier::new(minter().jwks());
            prop_assert!(verifier.access(&text).is_err() && verifier.ticket(&text).is_err());
        }
    }

    #[test]
    fn the_public_key_cannot_be_used_as_a_shared_secret() {
        let minter = minter();
        let verifier = Verifier::new(minter.jwks());
        let public = serde_json::to_string(&minter.jwks().keys[0]).unwrap();
        let header = Header { kid: minter.header.kid.clone(), ..Header::new(Algorithm::HS256) };
        let exp = Timestamp::now().unix() + 60;
        let access = Access { user: UserId::generate(), session: SessionId::generate(), exp };
        let signed = Signed { iss: ISSUER, aud: ISSUER, iat: 0, claims: Claims::Access(access) };
        let key = EncodingKey::from_secret(public.as_bytes());
        let confused = jsonwebtoken::encode(&header, &signed, &key).unwrap();
        assert_eq!(verifier.access(&confused), Err(TokenError::Invalid));
    }
}

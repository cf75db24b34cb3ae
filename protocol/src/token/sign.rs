//! Signing tokens.

use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Access, Claims, ISSUER, Signed, Ticket, TokenError, VerificationKeys};
use crate::{DisplayName, Role, RoomId, SessionId, Timestamp, UserId, limits};

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

    /// Also publishes these keys, each once.
    pub fn with_verification_keys(mut self, VerificationKeys(keys): VerificationKeys) -> Self {
        for key in keys {
            if !self.public.keys.contains(&key) {
                self.public.keys.push(key);
            }
        }
        self
    }

    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// The public keys, as `/.well-known/jwks.json` serves them. The first one is that of the signing key.
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

//! Verifying tokens.

use std::collections::HashMap;

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    errors::ErrorKind,
    jwk::{Jwk, JwkSet, KeyAlgorithm},
};

use super::{Access, Claims, ISSUER, Ticket, TokenError};

/// Verifies tokens with the public keys.
#[derive(Clone)]
pub struct Verifier {
    keys: HashMap<String, DecodingKey>,
    validation: Validation,
}

impl Verifier {
    /// Uses the Ed25519 keys of a set and ignores all others, because a token must not choose the algorithm.
    pub fn new(jwks: &JwkSet) -> Self {
        let is_ours = |jwk: &&Jwk| jwk.common.key_algorithm == Some(KeyAlgorithm::EdDSA);
        let keys =
            jwks.keys.iter().filter(is_ours).filter_map(|jwk| {
                Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?))
            });
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // In seconds. Servers' clocks differ by less, and a longer leeway would extend every lifetime.
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

    /// Whether the key id in a token's unverified header is not among the public keys.
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

//! Public keys besides the one that signs, from PEM. With them a signing key is replaced without a refused token: the
//! next key is published before it signs, and the previous one until its last token has expired.

use std::str::FromStr;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey,
    jwk::{
        AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm,
        OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse, ThumbprintHash,
    },
};

/// Bytes of an Ed25519 public key.
const KEY_BYTES: usize = 32;

/// Public keys whose tokens are accepted too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerificationKeys(pub(super) Vec<Jwk>);

/// Why a text is not a list of public keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerificationKeysError {
    #[error("expected public keys in PEM (`openssl pkey -in KEY -pubout` prints one)")]
    NotPem,
    #[error("it holds a private key; expected the public one (`openssl pkey -in KEY -pubout`)")]
    Private,
    #[error("one of the keys is not an Ed25519 public key")]
    NotEd25519,
}

impl VerificationKeys {
    /// The keys alone, for a process that signs no tokens.
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.0.clone() }
    }
}

impl FromStr for VerificationKeys {
    type Err = VerificationKeysError;

    /// Parses any number of PEM blocks, one after the other.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let blocks = pem::parse_many(text).map_err(|_| VerificationKeysError::NotPem)?;
        if blocks.is_empty() {
            return Err(VerificationKeysError::NotPem);
        }
        let keys: Result<Vec<Jwk>, _> = blocks.iter().map(public_key).collect();
        keys.map(Self)
    }
}

fn public_key(block: &pem::Pem) -> Result<Jwk, VerificationKeysError> {
    if block.tag().contains("PRIVATE") {
        return Err(VerificationKeysError::Private);
    }
    let key = DecodingKey::from_ed_pem(pem::encode(block).as_bytes())
        .map_err(|_| VerificationKeysError::NotEd25519)?;
    let bytes = key.try_get_as_bytes().map_err(|_| VerificationKeysError::NotEd25519)?;
    // X25519 and Ed448 keys have the same PEM tag.
    if bytes.len() != KEY_BYTES || !block.contents().ends_with(bytes) || !is_ed25519(block) {
        return Err(VerificationKeysError::NotEd25519);
    }
    let mut jwk = Jwk {
        common: CommonParameters {
            key_algorithm: Some(KeyAlgorithm::EdDSA),
            public_key_use: Some(PublicKeyUse::Signature),
            ..Default::default()
        },
        algorithm: AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
            key_type: OctetKeyPairType::OctetKeyPair,
            curve: EllipticCurve::Ed25519,
            x: BASE64_URL_SAFE_NO_PAD.encode(bytes),
        }),
    };
    let id = jwk.thumbprint(ThumbprintHash::SHA256);
    jwk.common.key_id = Some(id.map_err(|_| VerificationKeysError::NotEd25519)?);
    Ok(jwk)
}

/// Whether the key's algorithm is 1.3.101.112 (RFC 8410).
fn is_ed25519(block: &pem::Pem) -> bool {
    const ALGORITHM: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];
    block.contents().windows(ALGORITHM.len()).any(|bytes| bytes == ALGORITHM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SessionId, UserId,
        token::{Minter, Verifier},
    };

    /// The public half of the example key of RFC 8410, which `super::super::tests` signs with.
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    /// Another key, made by `openssl genpkey -algorithm ed25519`.
    const OTHER: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n\
        -----END PRIVATE KEY-----\n";
    const X25519: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VuAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    fn minter(pem: &str) -> Minter {
        Minter::from_pem(&pem.into()).unwrap()
    }

    #[test]
    fn a_public_key_equals_that_of_the_signing_key() {
        let VerificationKeys(keys) = PUBLIC.parse().unwrap();
        assert_eq!(keys, minter(PRIVATE).jwks().keys);
        let twice: VerificationKeys = format!("{PUBLIC}\n{PUBLIC}").parse().unwrap();
        let published = minter(PRIVATE).with_verification_keys(twice);
        assert_eq!(published.jwks().keys, keys, "every key is published once");
    }

    #[test]
    fn tokens_of_the_previous_key_are_accepted_and_those_of_others_are_not() {
        let token = minter(PRIVATE).access(UserId::generate(), SessionId::generate()).unwrap();
        let next = minter(OTHER);
        assert!(Verifier::new(next.jwks()).access(&token).is_err());
        let next = next.with_verification_keys(PUBLIC.parse().unwrap());
        assert_eq!(next.jwks().keys.len(), 2);
        let verifier = Verifier::new(next.jwks());
        verifier.access(&token).unwrap();
        verifier.access(&next.access(UserId::generate(), SessionId::generate()).unwrap()).unwrap();
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        use VerificationKeysError::{NotEd25519, NotPem, Private};
        let mixed = format!("{PUBLIC}{PRIVATE}");
        let broken = PUBLIC.replace("MCow", "MCo*");
        for (text, error) in [
            ("", NotPem),
            ("a key", NotPem),
            (&broken, NotPem),
            (PRIVATE, Private),
            (&mixed, Private),
            (X25519, NotEd25519),
        ] {
            assert_eq!(text.parse::<VerificationKeys>(), Err(error), "{text}");
        }
    }
}

//! The keys of tokens.

use protocol::token::{Minter, Verifier};
use serde_json::Value;

use crate::{config::Config, error::ApiError};

/// The keys of a function.
pub struct Keys {
    /// `None` in a function that signs no tokens: it has no private key.
    minter: Option<Minter>,
    pub verifier: Verifier,
    /// The public keys, as `/.well-known/jwks.json` serves them.
    pub public: Value,
}

impl Keys {
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let others = &config.verification_keys;
        let Some(key) = &config.signing_key else {
            let keys = others.jwks();
            let public = serde_json::to_value(&keys)?;
            return Ok(Self { minter: None, verifier: Verifier::new(&keys), public });
        };
        let minter = Minter::from_pem(key)?
            .with_lifetimes(config.lifetimes)
            .with_verification_keys(others.clone());
        let public = serde_json::to_value(minter.jwks())?;
        Ok(Self { verifier: Verifier::new(minter.jwks()), minter: Some(minter), public })
    }

    /// Signs tokens. Fails in a function whose [`crate::config::Needs`] have no signing key.
    pub fn minter(&self) -> Result<&Minter, ApiError> {
        let missing = || ApiError::Internal(anyhow::anyhow!("this function has no signing key"));
        self.minter.as_ref().ok_or_else(missing)
    }
}

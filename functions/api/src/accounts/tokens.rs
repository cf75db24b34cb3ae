//! The tokens of a session: the response to a login or a refresh, and how refresh tokens are generated and stored.

use axum::{Json, http::HeaderMap};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use protocol::SessionId;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use store::{
    accounts::REFRESH_WITHIN,
    db::{Tx, on_tx},
};

use super::{
    cookie,
    user::{User, UserRow},
};
use crate::{error::ApiError, state::AppState};

/// Bytes of a refresh token, and of the salt of its successor.
pub const TOKEN_BYTES: usize = 32;

/// Access token and refresh token of a session.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    access_token: String,
    /// Lifetime of the access token in seconds.
    expires_in: i64,
    refresh_token: String,
    user: User,
}

impl Tokens {
    /// Signs a new access token and returns it with the given refresh token.
    pub fn new(
        state: &AppState,
        session: SessionId,
        user: UserRow,
        refresh_token: String,
    ) -> Result<Self, ApiError> {
        let minter = state.keys.minter()?;
        let access_token = minter.access(user.id.into(), session)?;
        let expires_in = minter.lifetimes().access;
        Ok(Self { access_token, expires_in, refresh_token, user: user.into() })
    }

    pub fn refresh_token(&self) -> &str {
        &self.refresh_token
    }

    /// Headers and body of a response. The headers set the refresh token as a cookie too.
    pub fn into_response_parts(self, state: &AppState) -> (HeaderMap, Json<Self>) {
        (cookie::set(state, Some(&self.refresh_token)), Json(self))
    }
}

/// The first refresh token of a session: 256 random bits.
pub fn first_refresh_token() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>())
}

/// Stores a refresh token's hash.
pub async fn store_refresh_token(
    tx: &mut Tx,
    session: SessionId,
    token: &str,
) -> Result<(), ApiError> {
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO refresh_token (hash, session_id, expires_at) VALUES ($1, $2, $3)"
    )
    .bind(hash(token))
    .bind(session.as_uuid())
    .bind(Utc::now() + REFRESH_WITHIN)
    .execute(e))?;
    Ok(())
}

/// SHA-256, without salt: a token has 256 random bits, so it cannot be found by trying.
pub fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// Derives the next refresh token: HMAC-SHA-256 of the salt, keyed with the spent token. Computing it needs both.
pub fn successor(token: &str, salt: &[u8]) -> Result<String, ApiError> {
    let mac = Hmac::<Sha256>::new_from_slice(token.as_bytes());
    let mut mac = mac.map_err(|error| ApiError::Internal(error.into()))?;
    mac.update(salt);
    Ok(BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_depends_on_token_and_salt() {
        let (one, other) = (first_refresh_token(), first_refresh_token());
        let next = |token: &str, salt: &[u8]| successor(token, salt).unwrap();
        assert_eq!(next(&one, b"salt"), next(&one, b"salt"));
        assert_ne!(next(&one, b"salt"), next(&one, b"tlas"));
        assert_ne!(next(&one, b"salt"), next(&other, b"salt"));
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(next(&one, b"salt")).unwrap().len(), TOKEN_BYTES);
    }
}

//! The tokens of a session: the answer to a login or a refresh, and how refresh tokens are made and stored.

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

/// A session's tokens.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    access_token: String,
    /// Seconds.
    expires_in: i64,
    refresh_token: String,
    user: User,
}

impl Tokens {
    /// A new access token beside this refresh token.
    pub fn new(
        state: &AppState,
        session: SessionId,
        user: UserRow,
        refresh_token: String,
    ) -> Result<Self, ApiError> {
        let access_token = state.minter.access(user.id.into(), session)?;
        let expires_in = state.minter.lifetimes().access;
        Ok(Self { access_token, expires_in, refresh_token, user: user.into() })
    }

    pub fn refresh_token(&self) -> &str {
        &self.refresh_token
    }

    /// The answer, with the refresh token as a cookie too.
    pub fn answer(self, state: &AppState) -> (HeaderMap, Json<Self>) {
        (cookie::set(state, Some(&self.refresh_token)), Json(self))
    }
}

/// A first token: 256 random bits.
pub fn first_refresh_token() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>())
}

/// Stores a token's hash.
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

pub fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// The token after this one: 256 bits that cannot be told without both the token and the salt.
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

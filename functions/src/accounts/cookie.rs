//! The refresh token as a cookie (RFC 6265), for pages that would rather not hold it: no script can
//! read it, no other site can send it, and it goes to the one address that takes it.

use axum::http::{HeaderMap, HeaderValue, header};

use super::refresh::REFRESH_WITHIN;
use crate::state::State;

const NAME: &str = "refreshToken";
const PATH: &str = "/login/refresh";

/// What the browser sent back.
pub fn find(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == NAME).map(|(_, value)| value.trim())
}

/// The header that keeps a token, or without one forgets it.
pub fn set(state: &State, token: Option<&str>) -> HeaderMap {
    let age = token.map_or(0, |_| REFRESH_WITHIN.num_seconds());
    // On plain http a browser would not keep a secure one.
    let secure = if state.config.public_url.scheme() == "https" { "; Secure" } else { "" };
    let token = token.unwrap_or_default();
    let text =
        format!("{NAME}={token}; Path={PATH}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    // A token is base64url, so the text is a header value.
    let value = HeaderValue::from_str(&text).map(|mut value| {
        value.set_sensitive(true);
        (header::SET_COOKIE, value)
    });
    value.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(lines: &[&str]) -> Option<String> {
        let lines = lines.iter().map(|line| (header::COOKIE, HeaderValue::from_str(line).unwrap()));
        find(&lines.collect()).map(str::to_owned)
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        assert_eq!(found(&["a=b; refreshToken=x-_9; c=d"]).as_deref(), Some("x-_9"));
        assert_eq!(found(&["a=b", "refreshToken=x"]).as_deref(), Some("x"));
        for none in [&["refreshTokens=x"][..], &["refreshToken"], &["xrefreshToken=1"], &[]] {
            assert_eq!(found(none), None);
        }
    }

    proptest! {
        #[test]
        fn hostile_cookies_are_read_without_panic(line in "[ -~]{0,60}") {
            let _ = found(&[&line]);
        }
    }
}

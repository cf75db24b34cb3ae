//! The refresh token as a cookie (RFC 6265), for pages that would rather not hold it: no script can
//! read it, no other site can send it, and it goes to the one address that takes it, from our own pages only.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{config::Config, error::ApiError, state::AppState};
use store::accounts::REFRESH_WITHIN;

const NAME: &str = "refreshToken";
const PATH: &str = "/login/refresh";
/// What browsers say of the page that sends a request (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the browser sent back.
pub fn find(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == NAME).map(|(_, value)| value.trim())
}

/// Refuses a request of a page that is neither ours nor of an allowed origin. `SameSite=Strict` does not: other
/// ports and subdomains are the same site, and an empty POST of theirs would spend the token. Browsers put an Origin
/// into every POST; a request with neither header comes from a program, which no page can make send a cookie.
pub fn check_origin(headers: &HeaderMap, config: &Config) -> Result<(), ApiError> {
    let is_same_origin = headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin");
    let own = config.public_url.origin().ascii_serialization();
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let is_allowed = origin.is_some_and(|origin| is_among(origin, &own, &config.origins));
    let is_program = !headers.contains_key(header::ORIGIN) && !headers.contains_key(SEC_FETCH_SITE);
    if is_same_origin || is_allowed || is_program {
        Ok(())
    } else {
        Err(ApiError::OriginNotAllowed)
    }
}

/// `*` among the allowed origins is for requests that carry a token, not for those that carry a cookie.
fn is_among(origin: &str, own: &str, allowed: &[String]) -> bool {
    allowed.iter().map(String::as_str).chain([own]).any(|one| one.eq_ignore_ascii_case(origin))
}

/// The header that keeps a token, or without one forgets it.
pub fn set(state: &AppState, token: Option<&str>) -> HeaderMap {
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

    #[test]
    fn an_origin_is_ours_or_allowed_to_the_letter() {
        let allowed = ["https://app.example".to_owned(), "*".to_owned()];
        let is_among = |origin| is_among(origin, "https://chat.example:8443", &allowed);
        for good in ["https://chat.example:8443", "https://App.example"] {
            assert!(is_among(good), "{good}");
        }
        for bad in
            ["https://chat.example", "http://app.example", "https://app.example.org", "null", ""]
        {
            assert!(!is_among(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn hostile_cookies_are_read_without_panic(line in "[ -~]{0,60}") {
            let _ = found(&[&line]);
        }
    }
}

//! The refresh token as a cookie (RFC 6265), for pages that do not want to store the token themselves. `HttpOnly`
//! hides it from scripts, `SameSite=Strict` keeps other sites from sending it, `Path` limits it to
//! `POST /login/refresh`, and [`check_origin`] rejects requests of pages that are not allowed to use it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use cookie::{Cookie, SameSite, time::Duration};

use crate::{config::Config, error::ApiError, state::AppState};
use store::accounts::REFRESH_WITHIN;

const NAME: &str = "refreshToken";
/// Below the path of `PUBLIC_URL`.
const PATH: &str = "/login/refresh";
/// The relation between the requesting page and this server, as reported by browsers (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns the refresh token from the request's `Cookie` headers. Not axum-extra's `CookieJar`, which copies
/// all cookies.
pub fn find(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(Cookie::split_parse).filter_map(Result::ok);
    cookies.find(|cookie| cookie.name() == NAME)?.value_raw()
}

/// Refuses a request from a page that is neither on this server nor of an allowed origin. `SameSite=Strict` is not
/// enough: other ports and subdomains are the same site, so a page there could spend the token with an empty POST.
/// Browsers add `Origin` to every POST. A request without `Origin` and `Sec-Fetch-Site` therefore comes from a
/// program that is not a browser, and no page can make such a program send the cookie.
pub fn check_origin(headers: &HeaderMap, config: &Config) -> Result<(), ApiError> {
    let is_same_origin = headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin");
    let own = config.site.public_url.origin().ascii_serialization();
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let is_allowed =
        origin.is_some_and(|origin| is_allowed_origin(origin, &own, &config.site.origins));
    let is_program = !headers.contains_key(header::ORIGIN) && !headers.contains_key(SEC_FETCH_SITE);
    if is_same_origin || is_allowed || is_program {
        Ok(())
    } else {
        Err(ApiError::OriginNotAllowed)
    }
}

/// Whether an origin is this server's or in the list. `*` in the list does not match: it allows requests with a token
/// in a header, but not requests with a cookie.
fn is_allowed_origin(origin: &str, own: &str, allowed: &[String]) -> bool {
    allowed
        .iter()
        .map(String::as_str)
        .chain([own])
        .any(|candidate| candidate.eq_ignore_ascii_case(origin))
}

/// Builds the `Set-Cookie` header that stores a token or, without a token, deletes the cookie.
pub fn set(state: &AppState, token: Option<&str>) -> HeaderMap {
    let age = token.map_or(0, |_| REFRESH_WITHIN.num_seconds());
    let site = &state.config.site;
    let cookie = Cookie::build((NAME, token.unwrap_or_default()))
        .path(format!("{}{PATH}", site.base_path()))
        .max_age(Duration::seconds(age))
        .http_only(true)
        .same_site(SameSite::Strict)
        // Over plain HTTP, browsers discard cookies with `Secure`.
        .secure(site.public_url.scheme() == "https");
    // A token is base64url and a path percent-encoded, so the text is always a valid header value.
    let value = HeaderValue::from_str(&cookie.to_string());
    value.into_iter().map(|value| (header::SET_COOKIE, value)).collect()
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
    fn an_origin_must_match_exactly() {
        let allowed = ["https://app.example".to_owned(), "*".to_owned()];
        let is_allowed = |origin| is_allowed_origin(origin, "https://chat.example:8443", &allowed);
        for good in ["https://chat.example:8443", "https://App.example"] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in
            ["https://chat.example", "http://app.example", "https://app.example.org", "null", ""]
        {
            assert!(!is_allowed(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn hostile_cookies_are_read_without_panic(line in "[ -~]{0,60}") {
            let _ = found(&[&line]);
        }
    }
}

//! Static content: pages, scripts, API documents. Sent compressed, and revalidated by `ETag`.
//!
//! By hand, because tower-http's `ServeDir` reads files from disk and its `CompressionLayer` compresses every response
//! again.

use std::{borrow::Cow, io::Write as _};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};

/// Smaller content fits into one packet uncompressed.
const COMPRESSED_FROM_BYTES: usize = 1024;

/// Content in all encodings that are stored.
#[derive(Debug, Clone)]
pub struct Representation {
    content_type: HeaderValue,
    /// The `ETag` of the content. The encoded forms append a suffix.
    hash: String,
    identity: Bytes,
    brotli: Option<Bytes>,
    gzip: Option<Bytes>,
}

impl Representation {
    /// Content that the build has stored in several encodings. `sha256` is the hash of the identity form.
    pub fn prepared(
        content_type: &str,
        sha256: &[u8],
        identity: Cow<'static, [u8]>,
        brotli: Option<Cow<'static, [u8]>>,
        gzip: Option<Cow<'static, [u8]>>,
    ) -> Self {
        let content_type = HeaderValue::from_str(content_type)
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        Self {
            content_type,
            hash: hex::encode(sha256.get(..16).unwrap_or(sha256)),
            identity: bytes(identity),
            brotli: brotli.map(bytes),
            gzip: gzip.map(bytes),
        }
    }

    /// Compresses the content now. For content that is created once per process.
    pub fn compressed(content_type: &str, identity: Cow<'static, [u8]>) -> Self {
        let gzip = (identity.len() >= COMPRESSED_FROM_BYTES).then(|| gzip(&identity)).flatten();
        let sha256 = Sha256::digest(&identity);
        Self::prepared(content_type, &sha256, identity, None, gzip.map(Cow::Owned))
    }

    /// Answers in the encoding that the request prefers, or with 304 if the client has the content.
    pub fn answer(&self, request: &HeaderMap, caching: HeaderValue) -> Response {
        let available =
            [("br", &self.brotli), ("gzip", &self.gzip)].into_iter().filter_map(|(name, body)| {
                let body = body.as_ref()?;
                Some((weight(request, name)?, name, body))
            });
        // Of equal weights the first wins, so brotli before gzip.
        let best = available.reduce(|best, other| if other.0 > best.0 { other } else { best });
        let (etag, body) = match best {
            Some((_, name, body)) => (format!("\"{}-{name}\"", self.hash), body),
            None => (format!("\"{}\"", self.hash), &self.identity),
        };
        let mut response = if is_cached(request, &etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = body.clone().into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, self.content_type.clone());
            if let Some((_, name, _)) = best {
                let name = HeaderValue::from_static(name);
                response.headers_mut().insert(header::CONTENT_ENCODING, name);
            }
            response
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, caching);
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(header::ETAG, etag);
        }
        response
    }
}

fn bytes(content: Cow<'static, [u8]>) -> Bytes {
    match content {
        Cow::Borrowed(content) => Bytes::from_static(content),
        Cow::Owned(content) => Bytes::from(content),
    }
}

/// `None` if writing into memory failed, which it cannot.
fn gzip(content: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).ok()?;
    encoder.finish().ok()
}

/// The weight of an encoding in `Accept-Encoding`, 1 to 1000 (RFC 9110, section 12.5.3). `None` if the request does not
/// accept it. A malformed weight counts as 0.
fn weight(request: &HeaderMap, encoding: &str) -> Option<u16> {
    let lists =
        request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    let mut any = None;
    for item in lists.flat_map(|list| list.split(',')) {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let name = name.trim();
        let weight = match parameters.trim().split_once('=') {
            Some((q, value)) if q.trim().eq_ignore_ascii_case("q") => per_mille(value.trim()),
            Some(_) => 0,
            None => 1000,
        };
        if name.eq_ignore_ascii_case(encoding) {
            return (weight > 0).then_some(weight);
        }
        if name == "*" {
            any = Some(weight);
        }
    }
    any.filter(|weight| *weight > 0)
}

fn per_mille(q: &str) -> u16 {
    let q: f32 = q.parse().unwrap_or(0.0);
    if (0.0..=1.0).contains(&q) { (q * 1000.0) as u16 } else { 0 }
}

/// Whether `If-None-Match` contains this tag or `*`.
fn is_cached(request: &HeaderMap, etag: &str) -> bool {
    let lists = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(encodings: &[&str]) -> HeaderMap {
        let entries = encodings.iter().map(|list| HeaderValue::from_str(list).unwrap());
        entries.map(|list| (header::ACCEPT_ENCODING, list)).collect()
    }

    #[test]
    fn the_preferred_encoding_is_sent() {
        let text = "a".repeat(COMPRESSED_FROM_BYTES);
        let both = Representation::prepared(
            "text/plain",
            b"hash",
            text.into_bytes().into(),
            Some(Cow::Borrowed(b"brotli")),
            Some(Cow::Borrowed(b"gzip")),
        );
        for (accepted, expected) in [
            (&[][..], None),
            (&[""][..], None),
            (&["identity"][..], None),
            (&["gzip"][..], Some("gzip")),
            (&["gzip, deflate, br, zstd"][..], Some("br")),
            (&["GZIP"][..], Some("gzip")),
            (&["gzip;q=1.0, br;q=0.5"][..], Some("gzip")),
            (&["br; q=0, gzip"][..], Some("gzip")),
            (&["gzip;q=0"][..], None),
            (&["*"][..], Some("br")),
            (&["*;q=0"][..], None),
            (&["br;q=0, *"][..], Some("gzip")),
            (&["deflate", "gzip"][..], Some("gzip")),
            (&["gzip;q=nonsense"][..], None),
            (&["gzip;q=2"][..], None),
            (&["gzipped"][..], None),
        ] {
            let answer = both.answer(&accepting(accepted), HeaderValue::from_static("no-cache"));
            let encoding = answer.headers().get(header::CONTENT_ENCODING);
            assert_eq!(
                encoding.map(HeaderValue::as_bytes),
                expected.map(str::as_bytes),
                "{accepted:?}"
            );
            assert_eq!(answer.headers()[header::VARY], "accept-encoding");
        }
    }

    #[test]
    fn a_cached_encoding_is_answered_with_304() {
        let page = Representation::compressed("text/html", vec![b'x'; 5000].into());
        let caching = HeaderValue::from_static("no-cache");
        let first = page.answer(&accepting(&["gzip"]), caching.clone());
        let etag = first.headers()[header::ETAG].clone();
        assert_eq!(first.status(), StatusCode::OK);
        for (known, status) in [
            (etag.to_str().unwrap().to_owned(), StatusCode::NOT_MODIFIED),
            (format!("\"other\", W/{}", etag.to_str().unwrap()), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            ("\"other\"".to_owned(), StatusCode::OK),
        ] {
            let mut request = accepting(&["gzip"]);
            request.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&known).unwrap());
            let again = page.answer(&request, caching.clone());
            assert_eq!(again.status(), status, "{known}");
            assert_eq!(again.headers()[header::ETAG], etag);
        }
        let plain = page.answer(&HeaderMap::new(), caching);
        assert_ne!(
            plain.headers()[header::ETAG],
            etag,
            "another encoding is another representation"
        );
    }

    #[test]
    fn small_content_is_not_compressed() {
        let small = Representation::compressed("text/plain", Cow::Borrowed(b"small"));
        assert!(small.gzip.is_none());
    }
}

//! Pages, scripts and documents are compressed for clients that accept it, and cached by their ETag.

use reqwest::{
    Method, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG,
        HeaderMap, HeaderName, IF_NONE_MATCH, VARY,
    },
};
use stories::{Database, System};

async fn get(
    system: &System,
    path: &str,
    headers: &[(HeaderName, &str)],
) -> (StatusCode, HeaderMap, Vec<u8>) {
    let request = system.request(Method::GET, path);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, response.bytes().await.unwrap().into())
}

/// The paths that the page loads.
async fn assets(system: &System) -> Vec<String> {
    let (_, _, page) = get(system, "/", &[]).await;
    let page = String::from_utf8(page).unwrap();
    let paths = page.split('"').filter(|part| part.starts_with("/assets/")).map(str::to_owned);
    let paths: Vec<String> = paths.collect();
    assert!(paths.len() >= 2, "a script and a style: {page}");
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_are_compressed_and_cached() {
    let system = System::new(Database::Sqlite).await;
    let mut paths = assets(&system).await;
    let documents =
        ["/openapi.json", "/asyncapi.json", "/docs/events", "/docs/swagger-ui-bundle.js"];
    paths.extend(documents.map(str::to_owned));
    for path in &paths {
        let (status, plain_headers, plain) = get(&system, path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!plain_headers.contains_key(CONTENT_ENCODING), "{path}");
        let (_, headers, body) = get(&system, path, &[(ACCEPT_ENCODING, "gzip, deflate")]).await;
        assert_eq!(headers[CONTENT_ENCODING], "gzip", "{path}");
        assert!(body.starts_with(&[0x1f, 0x8b]) && body.len() * 2 < plain.len(), "{path}");
        assert_eq!(headers[VARY], "accept-encoding", "{path}");
        assert_eq!(headers["content-type"], plain_headers["content-type"], "{path}");
        assert_ne!(headers[ETAG], plain_headers[ETAG], "{path}");

        let etag = headers[ETAG].to_str().unwrap();
        let known = [(ACCEPT_ENCODING, "gzip"), (IF_NONE_MATCH, etag)];
        let (status, headers, body) = get(&system, path, &known).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        assert_eq!(headers[ETAG], etag, "{path}");
        let (_, headers, _) = get(&system, path, &[(ACCEPT_ENCODING, "gzip;q=0, identity")]).await;
        assert!(!headers.contains_key(CONTENT_ENCODING), "{path}");
    }
    for path in assets(&system).await {
        let (_, headers, _) = get(&system, &path, &[(ACCEPT_ENCODING, "gzip, br")]).await;
        assert_eq!(headers[CONTENT_ENCODING], "br", "{path}");
        assert_eq!(headers[CACHE_CONTROL], "public, max-age=31536000, immutable");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_page_is_not_sent_again() {
    let system = System::new(Database::Sqlite).await;
    for path in ["/", "/login", "/room/lobby", "/room/%", "/room/%E0%A4%A"] {
        let (status, headers, _) = get(&system, path, &[(ACCEPT, "text/html")]).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
        let etag = headers[ETAG].to_str().unwrap();
        let known = [(ACCEPT, "text/html"), (IF_NONE_MATCH, etag)];
        let (status, headers, _) = get(&system, path, &known).await;
        assert_eq!(status, StatusCode::NOT_MODIFIED, "{path}");
        assert!(headers.contains_key(CONTENT_SECURITY_POLICY), "{path}");
        let vary: Vec<&str> =
            headers.get_all(VARY).iter().filter_map(|by| by.to_str().ok()).collect();
        assert!(vary.starts_with(&["accept-encoding", "accept"]), "{path}: {vary:?}");
    }
}

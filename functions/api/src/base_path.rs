//! Serving below a path: `https://chat.example/prod/room` with the `PUBLIC_URL` `https://chat.example/prod`.

use axum::{
    Router,
    extract::Request,
    http::{Uri, uri::PathAndQuery},
};
use tower::ServiceBuilder;

/// The path without the base in front. Another path stays as it is: a proxy may have removed the base.
pub fn strip<'a>(path: &'a str, base: &str) -> &'a str {
    match path.strip_prefix(base) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

/// The router with the base removed from each path before the route is chosen.
pub fn serve_below(base: &str, router: Router) -> Router {
    if base.is_empty() {
        return router;
    }
    let base = base.to_owned();
    let service = ServiceBuilder::new().map_request(move |request| stripped(request, &base));
    Router::new().fallback_service(service.service(router))
}

fn stripped(mut request: Request, base: &str) -> Request {
    let path = strip(request.uri().path(), base);
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // Always valid, because it is the end of a valid address.
    if let Ok(target) = PathAndQuery::try_from(target) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::OriginalUri, http::StatusCode, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn only_whole_segments_are_removed() {
        for (path, base, expected) in [
            ("/prod/room", "/prod", "/room"),
            ("/prod", "/prod", "/"),
            ("/prod/", "/prod", "/"),
            ("/production", "/prod", "/production"),
            ("/room", "/prod", "/room"),
            ("/a/b/c", "/a/b", "/c"),
            ("/room", "", "/room"),
        ] {
            assert_eq!(strip(path, base), expected, "{path} below {base}");
        }
    }

    #[tokio::test]
    async fn routes_are_found_below_the_base() {
        let routes = Router::new()
            .route("/room", get(|uri: Uri, _: OriginalUri| async move { uri.to_string() }));
        let router = serve_below("/prod", routes);
        for path in ["/prod/room?q=1", "/room?q=1"] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
            assert_eq!(body, "/room?q=1");
        }
    }
}

//! The events of the services that invoke a function for an HTTP request, brought into one form. lambda_http builds a
//! request from an event with `unwrap`, and takes the parts of an address as they are, so this module checks and
//! completes them first:
//!
//! - HTTP APIs pass on a decoded path. REST APIs, load balancers and function URLs pass it on as it was sent.
//! - Under the address that API Gateway assigns, a path begins with the stage, and under an address with a path
//!   (`PUBLIC_URL`), with that path.
//! - A query or a host may be no part of any valid address.

use axum::http::{header::HOST, uri::PathAndQuery};
use lambda_http::{aws_lambda_events::apigw::ApiGatewayV2httpRequest, request::LambdaRequest};
use serde_json::{Value, json, value::RawValue};

use crate::base_path;

/// The end of a function URL's host.
const FUNCTION_URL: &str = ".on.aws";
/// Part of the host that API Gateway assigns.
const ASSIGNED: &str = ".execute-api.";

/// An event that is ready for lambda_http.
#[derive(Debug)]
pub enum Event {
    Request(LambdaRequest),
    /// The address is invalid. The event has no address any more, only its kind, which decides the form of the answer.
    Invalid(LambdaRequest),
}

/// Reads an event. `base` is the path of `PUBLIC_URL`. Fails if it is not an event of an HTTP request.
pub fn read(event: &RawValue, base: &str) -> serde_json::Result<Event> {
    let request = match serde_json::from_str(event.get()) {
        Ok(request) => request,
        // For instance a header with a value that no header may have.
        Err(_) => return without_address(event),
    };
    match with_valid_address(request, base) {
        Some(request) => Ok(Event::Request(request)),
        None => without_address(event),
    }
}

/// `None` if the address is invalid.
fn with_valid_address(request: LambdaRequest, base: &str) -> Option<LambdaRequest> {
    Some(match request {
        LambdaRequest::ApiGatewayV2(mut event) => {
            let path = event.raw_path.take().unwrap_or_default();
            let path = if is_decoded(&event) { escape(&path) } else { path };
            let (stage, domain) = (event.request_context.stage.take(), domain(&event).to_owned());
            let path = match stage.filter(|_| domain.contains(ASSIGNED)) {
                Some(stage) => base_path::strip(&path, &format!("/{stage}")).to_owned(),
                None => path,
            };
            let query = event.raw_query_string.as_deref().unwrap_or_default();
            event.raw_path = Some(checked(&path, query, base)?);
            // Without a host, lambda_http does not parse an address, and no handler needs it.
            event.request_context.domain_name = None;
            event.headers.remove(HOST);
            LambdaRequest::ApiGatewayV2(event)
        }
        LambdaRequest::ApiGatewayV1(mut event) => {
            // REST APIs do not have the stage in the path, and lambda_http would add it.
            event.request_context.stage = None;
            event.request_context.domain_name = None;
            event.path = Some(checked(event.path.as_deref().unwrap_or_default(), "", base)?);
            if !event.multi_value_headers.is_empty() {
                // They hold the last value of each header, and lambda_http would prefer them.
                event.headers.clear();
            }
            event.headers.remove(HOST);
            event.multi_value_headers.remove(HOST);
            LambdaRequest::ApiGatewayV1(event)
        }
        LambdaRequest::Alb(mut event) => {
            event.path = Some(checked(event.path.as_deref().unwrap_or_default(), "", base)?);
            event.headers.remove(HOST);
            event.multi_value_headers.remove(HOST);
            LambdaRequest::Alb(event)
        }
        other => other,
    })
}

fn domain(event: &ApiGatewayV2httpRequest) -> &str {
    event.request_context.domain_name.as_deref().unwrap_or_default()
}

/// Whether the path is decoded. Function URLs have the same kind of event as HTTP APIs, and do not decode it.
fn is_decoded(event: &ApiGatewayV2httpRequest) -> bool {
    !domain(event).ends_with(FUNCTION_URL)
}

/// Percent-encodes everything in a decoded path that has a meaning in an address.
fn escape(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    let escaped = path.bytes().map(|byte| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    escaped.collect()
}

/// The path without `base`, if it is valid together with the query.
fn checked(path: &str, query: &str, base: &str) -> Option<String> {
    let path = base_path::strip(path, base);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if path.contains(['?', '#']) || query.contains('#') {
        return None;
    }
    PathAndQuery::try_from(format!("{path}?{query}")).ok()?;
    Some(path)
}

/// The event without anything of the request except its method.
fn without_address(event: &RawValue) -> serde_json::Result<Event> {
    let mut event: Value = serde_json::from_str(event.get())?;
    for (name, empty) in [
        ("rawPath", json!("/")),
        ("path", json!("/")),
        ("rawQueryString", json!("")),
        ("queryStringParameters", json!({})),
        ("multiValueQueryStringParameters", json!({})),
        ("headers", json!({})),
        ("multiValueHeaders", json!({})),
        ("cookies", json!([])),
        ("body", Value::Null),
        ("isBase64Encoded", json!(false)),
    ] {
        if let Some(value) = event.get_mut(name) {
            *value = empty;
        }
    }
    if let Some(context) = event.get_mut("requestContext").and_then(Value::as_object_mut) {
        context.retain(|name, _| name != "domainName" && name != "stage");
    }
    serde_json::from_value(event).map(Event::Invalid)
}

#[cfg(test)]
mod tests {
    use lambda_http::Request;
    use proptest::prelude::*;

    use super::*;

    fn v2(domain: &str, stage: &str, path: &str, query: &str) -> Value {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
            "headers": { "host": domain },
            "requestContext": {
                "domainName": domain, "stage": stage, "timeEpoch": 0,
                "http": { "method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1" },
            },
            "isBase64Encoded": false,
        })
    }

    fn v1(path: &str) -> Value {
        json!({
            "resource": "/{proxy+}", "path": path, "httpMethod": "GET",
            "headers": { "Host": "x.example", "x-line": "2" },
            "multiValueHeaders": { "Host": ["x.example"], "x-line": ["1", "2"] },
            "queryStringParameters": { "q": "a b&c" },
            "multiValueQueryStringParameters": { "q": ["a b&c"] },
            "requestContext": {
                "httpMethod": "GET", "stage": "prod", "path": "/prod/room", "identity": {},
            },
            "isBase64Encoded": false,
        })
    }

    fn alb(path: &str, query: &str) -> Value {
        json!({
            "requestContext": { "elb": { "targetGroupArn": "arn" } },
            "httpMethod": "GET", "path": path, "queryStringParameters": { "q": query },
            "headers": { "host": "x.example" }, "body": "", "isBase64Encoded": false,
        })
    }

    /// The address that handlers get; `None` for an invalid one.
    fn address(event: &Value, base: &str) -> Option<String> {
        let event: Box<RawValue> = serde_json::from_str(&event.to_string()).unwrap();
        match read(&event, base).unwrap() {
            Event::Request(request) => Some(Request::from(request).uri().to_string()),
            Event::Invalid(request) => {
                assert_eq!(Request::from(request).uri().to_string(), "/");
                None
            }
        }
    }

    #[test]
    fn paths_are_encoded_once_and_have_neither_stage_nor_base() {
        const ASSIGNED: &str = "id.execute-api.eu-north-1.amazonaws.com";
        const FUNCTION_URL: &str = "id.lambda-url.eu-north-1.on.aws";
        const OWN: &str = "chat.example";
        for (event, base, expected) in [
            (v2(OWN, "$default", "/room/한", "a=%41"), "", "/room/%ED%95%9C?a=%41"),
            (v2(OWN, "$default", "/room/a%41", ""), "", "/room/a%2541"),
            (v2(OWN, "$default", "/room/a#b \"c\"", ""), "", "/room/a%23b%20%22c%22"),
            (v2(FUNCTION_URL, "$default", "/room/%ED%95%9C", "q=1"), "", "/room/%ED%95%9C?q=1"),
            (v2(ASSIGNED, "prod", "/prod/room", ""), "/prod", "/room"),
            (v2(ASSIGNED, "prod", "/prod/room", ""), "", "/room"),
            (v2(ASSIGNED, "prod", "/prod", ""), "/prod", "/"),
            (v2(OWN, "room", "/room/a", ""), "", "/room/a"),
            (v2(OWN, "prod", "/chat/room", ""), "/chat", "/room"),
            (v1("/room/%ED%95%9C"), "/prod", "/room/%ED%95%9C?q=a+b%26c"),
            (v1("/chat/room"), "/chat", "/room?q=a+b%26c"),
            (alb("/room/%ED%95%9C", "a%20b"), "", "/room/%ED%95%9C?q=a+b"),
        ] {
            assert_eq!(address(&event, base).as_deref(), Some(expected), "{event}");
        }
    }

    #[test]
    fn an_invalid_address_is_found_before_lambda_http_panics() {
        for query in ["a=\"", "a=<b>", "a#b", "a b"] {
            assert_eq!(address(&v2("chat.example", "$default", "/", query), ""), None, "{query}");
        }
        for host in ["a b", "[::1", "a:b:c", "\u{7f}", "한"] {
            let event = v2(host, "$default", "/room", "");
            assert!(matches!(address(&event, "").as_deref(), Some("/room") | None), "{host}");
        }
        assert_eq!(address(&alb("/a?b", ""), ""), None);
    }

    #[test]
    fn every_line_of_a_header_is_kept() {
        let event: Box<RawValue> = serde_json::from_str(&v1("/").to_string()).unwrap();
        let Event::Request(request) = read(&event, "").unwrap() else { panic!("it is valid") };
        let request = Request::from(request);
        let lines: Vec<_> = request.headers().get_all("x-line").iter().collect();
        assert_eq!(lines, ["1", "2"]);
    }

    proptest! {
        #[test]
        fn no_event_causes_a_panic(path in "\\PC{0,20}", query in "\\PC{0,20}", host in "\\PC{0,12}") {
            for event in [v2(&host, "prod", &path, &query), v1(&path), alb(&path, &query)] {
                let _ = address(&event, "/prod");
            }
        }
    }

    #[test]
    fn other_events_are_refused() {
        let event: Box<RawValue> = serde_json::from_str("{\"Records\":[]}").unwrap();
        assert!(read(&event, "").is_err());
    }
}

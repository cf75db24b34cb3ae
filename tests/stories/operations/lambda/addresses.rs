//! The forms in which the services in front of a function pass on a request.

use serde_json::{Value, json};
use stories::{Database, PASSWORD, RuntimeApi, System};

use super::{body, event, start, start_with};

/// An event of API Gateway's REST API, or with `elb` of a load balancer.
fn v1(method: &str, path: &str, context: Value) -> Value {
    json!({
        "resource": "/{proxy+}", "path": path, "httpMethod": method, "headers": {},
        "multiValueHeaders": {}, "queryStringParameters": null,
        "multiValueQueryStringParameters": null, "requestContext": context, "body": null,
        "isBase64Encoded": false,
    })
}

fn login(event: &mut Value) {
    event["body"] = json!({ "name": "ada", "password": PASSWORD }).to_string().into();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_service_in_front_gets_an_answer_in_its_form() {
    let system = System::new(Database::Postgres).await;
    system.user("ada").await;
    let mut api = RuntimeApi::start().await;
    let accounts = start_with(&system, &api, "accounts", |command| {
        command.env("PUBLIC_URL", "https://id.execute-api.eu-north-1.amazonaws.com/prod");
    });
    let in_json = json!({ "content-type": "application/json" });
    // A REST API with a stage. Cookies are valid below it only.
    let context = json!({
        "httpMethod": "POST", "stage": "prod", "path": "/prod/login",
        "identity": { "sourceIp": "192.0.2.7" },
    });
    let mut rest = v1("POST", "/login", context);
    rest["headers"] = in_json.clone();
    login(&mut rest);
    let answer = api.invoke(rest).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let cookie = answer["multiValueHeaders"]["set-cookie"][0].as_str().unwrap();
    assert!(cookie.contains("Path=/prod/login/refresh;"), "{cookie}");

    // An HTTP API at the address that AWS assigned, whose paths begin with the stage.
    let mut http = event("POST", "/prod/login", None, None);
    http["requestContext"]["stage"] = "prod".into();
    http["requestContext"]["domainName"] = "id.execute-api.eu-north-1.amazonaws.com".into();
    login(&mut http);
    let answer = api.invoke(http).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert!(answer["cookies"][0].as_str().unwrap().contains("Path=/prod/login/refresh;"));

    // A load balancer without and with headers of several values.
    let elb = json!({ "elb": { "targetGroupArn": "arn" } });
    for (name, headers) in [
        ("headers", in_json.clone()),
        ("multiValueHeaders", json!({ "content-type": ["application/json"] })),
    ] {
        let mut alb = v1("POST", "/login", elb.clone());
        alb["queryStringParameters"] = json!({});
        alb["multiValueQueryStringParameters"] = json!({});
        alb.as_object_mut().unwrap().retain(|other, _| other == name || !other.ends_with("eaders"));
        alb[name] = headers;
        login(&mut alb);
        let answer = api.invoke(alb).await;
        assert_eq!(answer["statusCode"], 200, "{name}: {answer}");
        assert_eq!(answer["statusDescription"], "200 OK");
        let cookie = &answer[name]["set-cookie"];
        assert!(cookie.as_str().or(cookie[0].as_str()).is_some(), "{name}: {answer}");
    }
    drop(accounts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_url_passes_on_an_encoded_path_and_an_http_api_a_decoded_one() {
    let system = System::new(Database::Postgres).await;
    let ada = system.user("ada").await;
    ada.create_room("한글방").await;
    let mut api = RuntimeApi::start().await;
    let rooms = start(&system, &api, "rooms");
    let mut get = async |domain: &str, path: &str| {
        let mut event = event("GET", path, Some(&ada.access), None);
        event["requestContext"]["domainName"] = domain.into();
        api.invoke(event).await["statusCode"].clone()
    };
    const ENCODED: &str = "/room/%ED%95%9C%EA%B8%80%EB%B0%A9";
    assert_eq!(get("id.lambda-url.eu-north-1.on.aws", ENCODED).await, 200);
    assert_eq!(get("chat.example", "/room/한글방").await, 200);
    // The name of another room: API Gateway has decoded the path already.
    assert_eq!(get("chat.example", ENCODED).await, 404);
    drop(rooms);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_address_is_a_problem_and_not_a_panic() {
    let system = System::new(Database::Sqlite).await;
    let mut api = RuntimeApi::start().await;
    let docs = start(&system, &api, "docs");
    let valid = || event("GET", "/openapi.json", None, None);
    let mut events = Vec::new();
    for query in ["a=\"", "a=<b>", "a=>", "a b"] {
        let mut event = valid();
        event["rawQueryString"] = query.into();
        events.push((event, 400));
    }
    let mut bad_header = valid();
    bad_header["headers"]["x-bad"] = "a\u{0}b".into();
    events.push((bad_header, 400));
    // No handler needs the host, so it is not looked at.
    for host in ["a b", "[::1", "한"] {
        let mut event = valid();
        event["headers"]["host"] = host.into();
        event["headers"]["x-forwarded-proto"] = "\"".into();
        events.push((event, 200));
    }
    for (event, status) in events {
        let answer = api.invoke(event.clone()).await;
        assert_eq!(answer["statusCode"], status, "{event}: {answer}");
        if status == 400 {
            assert_eq!(answer["headers"]["content-type"], "application/problem+json", "{answer}");
            assert_eq!(body(&answer)["code"], "uri-invalid");
        }
    }
    drop(docs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_the_documents_work_below_a_stage() {
    let system = System::new(Database::Sqlite).await;
    let mut api = RuntimeApi::start().await;
    let docs = start_with(&system, &api, "docs", |command| {
        for name in ["DATABASE_URL", "NATS_URL", "SIGNING_KEY", "AWS_SECRET_ACCESS_KEY"] {
            command.env_remove(name);
        }
        command.env("PUBLIC_URL", "https://chat.example/prod");
    });
    let mut get = async |path: &str| api.invoke(event("GET", path, None, None)).await;
    let document = body(&get("/prod/openapi.json").await);
    assert_eq!(document["servers"][0]["url"], "/prod");
    let redirect = get("/prod/docs").await;
    assert_eq!(redirect["headers"]["location"], "/prod/docs/", "{redirect}");
    for path in ["/prod/docs/", "/prod/docs/events", "/prod/asyncapi.json", "/prod/favicon.svg"] {
        assert_eq!(get(path).await["statusCode"], 200, "{path}");
    }
    let old = get("/prod/room:lobby").await;
    assert_eq!(old["headers"]["location"], "/prod/room/lobby", "{old}");
    let page = get("/prod/login").await;
    let html = page["body"].as_str().unwrap();
    assert!(html.contains("<meta name=\"base\" content=\"/prod\""), "{html}");
    let script = html.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert!(script.starts_with("/prod/assets/"), "{script}");
    assert_eq!(get(script).await["statusCode"], 200, "{script}");
    drop(docs);
}

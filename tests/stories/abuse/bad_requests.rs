//! Invalid HTTP requests: each has its own problem code, and the server keeps working.

use protocol::{Role, SessionId};
use reqwest::Method;
use serde_json::json;
use stories::{Answer, DEADLINE, System, stories};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

stories! {
    async fn unknown_paths_and_methods_are_problems(system: System) {
        Answer::of(system.request(Method::GET, "/nowhere")).await.problem(404, "not-found");
        Answer::of(system.request(Method::GET, "/room:")).await.problem(404, "not-found");
        let wrong = Answer::of(system.request(Method::PUT, "/user")).await;
        wrong.problem(405, "method-not-allowed");
        assert!(wrong.headers["allow"].to_str().unwrap().contains("POST"));
    }

    async fn invalid_bodies_are_problems(system: System) {
        let raw = |body: &'static str| {
            let request =
                system.request(Method::POST, "/user").header("content-type", "application/json");
            Answer::of(request.body(body))
        };
        raw("{\"name\":").await.problem(400, "malformed-json");
        raw("").await.problem(400, "malformed-json");
        raw("[\"ada\",\"correct horse\"]").await.problem(422, "wrong-type");
        let cases = [
            (json!({ "name": "ada" }), "missing-field", "password"),
            (
                json!({ "name": "ada", "password": "correct horse", "admin": true }),
                "unknown-field",
                "admin",
            ),
            (json!({ "name": 7, "password": "correct horse" }), "wrong-type", "name"),
            (json!({ "name": "a b", "password": "correct horse" }), "invalid-value", "name"),
            (json!({ "name": "ad", "password": "correct horse" }), "invalid-value", "name"),
            (json!({ "name": "ada", "password": "short" }), "invalid-value", "password"),
            (
                json!({ "name": "ada", "password": "correct horse", "displayName": "a\u{202E}b" }),
                "invalid-value",
                "displayName",
            ),
        ];
        for (body, code, field) in cases {
            let answer = system.post("/user", body).await;
            answer.problem(422, code);
            assert_eq!(answer.body["errors"][0]["field"], field);
        }
        raw(r#"{"name":"ada","name":"bob","password":"correct horse"}"#)
            .await
            .problem(422, "duplicate-field");
        let form =
            system.request(Method::POST, "/user").header("content-type", "text/plain").body("{}");
        Answer::of(form).await.problem(415, "unsupported-media-type");
        let huge = json!({ "name": "ada", "password": "x".repeat(70_000) });
        system.post("/user", huge).await.problem(413, "body-too-large");
        system.user("ada").await;
    }

    async fn tokens_that_are_not_access_tokens_are_problems(system: System) {
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let with =
            |token: String| Answer::of(system.request(Method::GET, "/user").bearer_auth(token));
        Answer::of(system.request(Method::GET, "/user")).await.problem(401, "token-missing");
        let basic = system.request(Method::GET, "/user").basic_auth("ada", Some("x"));
        Answer::of(basic).await.problem(401, "token-missing");
        with(system.ticket(&ada, room, Role::Owner)).await.problem(401, "token-wrong-kind");
        with(ada.refresh.clone()).await.problem(401, "token-invalid");
        let expired = system.minter.access_until(ada.id, system.claims(&ada).session, 1).unwrap();
        with(expired).await.problem(401, "token-expired");
        let (head, _) = ada.access.rsplit_once('.').unwrap();
        with(format!("{head}.AAAA")).await.problem(401, "token-invalid");
        let unknown = system.minter.access(ada.id, SessionId::generate()).unwrap();
        with(unknown).await.problem(401, "session-revoked");
        let answer = with("nonsense".into()).await;
        answer.problem(401, "token-invalid");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert_eq!(ada.get("/user").await.ok()["name"], "ada");
    }

    async fn documents_pages_and_old_paths_are_served(system: System) {
        let api = Answer::of(system.request(Method::GET, "/openapi.json")).await.ok();
        assert_eq!(api["openapi"], "3.1.0");
        for path in
            ["/user", "/login", "/room/{name}", "/room/{name}/message", "/file/{id}/complete"]
        {
            assert!(api["paths"][path].is_object(), "{path}");
        }
        let docs = system.request(Method::GET, "/docs/").send().await.unwrap();
        assert!(docs.text().await.unwrap().contains("swagger"));
        let old = system.request(Method::GET, "/room:한글방").send().await.unwrap();
        assert_eq!(old.status(), 308);
        assert_eq!(old.headers()["location"], "/room/%ED%95%9C%EA%B8%80%EB%B0%A9");
        let keys = Answer::of(system.request(Method::GET, "/.well-known/jwks.json")).await.ok();
        assert_eq!(
            (&keys["keys"][0]["crv"], &keys["keys"][0]["d"]),
            (&json!("Ed25519"), &json!(null))
        );
        for path in ["/healthz", "/readyz"] {
            assert_eq!(Answer::of(system.request(Method::GET, path)).await.status, 200);
        }
        let page = system
            .request(Method::GET, "/room/lobby")
            .header("accept", "text/html,*/*;q=0.8")
            .send()
            .await
            .unwrap();
        assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(
            page.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("default-src 'self'")
        );
    }

    async fn a_missing_body_is_not_waited_for(system: System) {
        let address = system.base.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = "POST /login HTTP/1.1\r\nhost: chat\r\ncontent-type: application/json\r\n\
                    content-length: 60\r\n\r\n{";
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // The server must close the connection: a late body would be read as another request.
        let read = tokio::time::timeout(DEADLINE, connection.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 408 ") && answer.contains("body-too-slow"),
            "{answer}"
        );
    }

    async fn every_response_has_a_request_id_and_cors(system: System) {
        let request =
            system.request(Method::GET, "/healthz").header("x-request-id", "from-outside.1");
        assert_eq!(Answer::of(request).await.headers["x-request-id"], "from-outside.1");
        let request =
            system.request(Method::GET, "/healthz").header("x-request-id", "with space\tand more");
        assert_ne!(Answer::of(request).await.headers["x-request-id"], "with space\tand more");
        let from = |origin: &str| {
            Answer::of(system.request(Method::GET, "/healthz").header("origin", origin))
        };
        let own = from(&system.base).await;
        assert_eq!(own.headers["access-control-allow-origin"], system.base.as_str());
        assert!(
            !from("https://evil.example").await.headers.contains_key("access-control-allow-origin")
        );
    }
}

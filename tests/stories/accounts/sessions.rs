//! Sessions of an account: they are listed, ended, renewed by a cookie, and all ended by a new password.

use reqwest::Method;
use serde_json::{Value, json};
use stories::{Answer, Closed, System, stories};

/// The refresh token's cookie as a browser sends it, and its attributes.
fn cookie(answer: &Answer) -> (String, Vec<String>) {
    let header = answer.headers["set-cookie"].to_str().unwrap();
    let mut parts = header.split("; ").map(str::to_owned);
    (parts.next().unwrap(), parts.collect())
}

stories! {
    async fn sessions_are_listed_and_ended(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let phone = system.login("ada").await;
        let mut socket = phone.connect(&gateway).await;
        let listed = ada.get("/user/session").await.ok();
        let sessions = listed["items"].as_array().unwrap();
        let current: Vec<&Value> = sessions.iter().map(|session| &session["current"]).collect();
        assert_eq!((current, &listed["next"]), (vec![&json!(true), &json!(false)], &Value::Null));
        let first = ada.get("/user/session?limit=1").await.ok();
        let next = format!("/user/session?limit=1&cursor={}", first["next"].as_str().unwrap());
        assert_eq!(ada.get(&next).await.ok()["items"][0], sessions[1]);

        let path = format!("/user/session/{}", sessions[1]["id"].as_str().unwrap());
        bob.delete(&path).await.problem(404, "no-such-session");
        assert_eq!(ada.delete(&path).await.status, 204);
        socket.expect("session-expired").await;
        assert_eq!(socket.closed().await, Closed::Code(1000));
        phone.get("/user").await.problem(401, "session-revoked");
        ada.delete(&path).await.problem(404, "no-such-session");
        ada.delete("/user/session/x").await.problem(404, "no-such-session");
        assert_eq!(ada.get("/user/session").await.ok()["items"].as_array().unwrap().len(), 1);
    }

    async fn a_cookie_renews_a_session(system: System) {
        system.user("ada").await;
        let login =
            system.post("/login", json!({ "name": "ada", "password": stories::PASSWORD })).await;
        let (first, attributes) = cookie(&login);
        assert_eq!(first, format!("refreshToken={}", login.body["refreshToken"].as_str().unwrap()));
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/login/refresh", "Max-Age=2592000"] {
            assert!(
                attributes.iter().any(|found| found == attribute),
                "{attribute}: {attributes:?}"
            );
        }
        let renew = |cookie: String| {
            let request = system.request(Method::POST, "/login/refresh");
            Answer::of(
                request.header("cookie", format!("a=b; {cookie}")).header("origin", &system.base),
            )
        };
        let renewed = renew(first.clone()).await;
        let (second, _) = cookie(&renewed);
        assert_ne!(second, first);
        let token = renewed.body["accessToken"].as_str().unwrap().to_owned();
        let logout = Answer::of(system.request(Method::POST, "/logout").bearer_auth(token)).await;
        let (gone, attributes) = cookie(&logout);
        assert_eq!(gone, "refreshToken=");
        assert!(attributes.iter().any(|found| found == "Max-Age=0"));
        renew(second).await.problem(401, "refresh-invalid");
        renew(first).await.problem(401, "refresh-reused");
        Answer::of(system.request(Method::POST, "/login/refresh"))
            .await
            .problem(401, "refresh-invalid");
        let text = system.request(Method::POST, "/login/refresh").body("refreshToken=x");
        Answer::of(text).await.problem(415, "unsupported-media-type");
    }

    async fn the_cookie_works_from_our_own_pages_only(system: System) {
        let mut system = system;
        system.set_variable("ALLOWED_ORIGINS", "https://app.example, *");
        let base = system.start_functions().await;
        system.user("ada").await;
        let login =
            system.post("/login", json!({ "name": "ada", "password": stories::PASSWORD })).await;
        let renew = async |cookie: &str, header: Option<(&str, &str)>| {
            let request =
                system.http.post(format!("{base}/login/refresh")).header("cookie", cookie);
            let request = header
                .into_iter()
                .fold(request, |request, (name, value)| request.header(name, value));
            Answer::of(request).await
        };
        let (mut token, _) = cookie(&login);
        // Another port is another origin of the same site, so the browser sends the cookie.
        for (name, value) in [
            ("origin", "http://127.0.0.1:1"),
            ("origin", "null"),
            ("origin", "https://app.example.org"),
            ("origin", ""),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "cross-site"),
        ] {
            renew(&token, Some((name, value))).await.problem(403, "origin-not-allowed");
        }
        // None of these requests used the token. Programs send neither header.
        for header in [
            Some(("origin", &*system.base)),
            Some(("origin", "https://app.example")),
            Some(("sec-fetch-site", "same-origin")),
            None,
        ] {
            let renewed = renew(&token, header).await;
            assert_eq!(renewed.status, 200, "{header:?}: {}", renewed.body);
            token = cookie(&renewed).0;
        }
        // A client that has the token in the body needs no cookie.
        let token = token.strip_prefix("refreshToken=").unwrap();
        let request = system
            .http
            .post(format!("{base}/login/refresh"))
            .header("origin", "http://127.0.0.1:1");
        Answer::of(request.json(&json!({ "refreshToken": token }))).await.ok();
    }

    async fn token_lifetimes_are_configurable(system: System) {
        let mut system = system;
        system.set_variable("ACCESS_TOKEN_SECONDS", "2");
        system.set_variable("TICKET_SECONDS", "1234");
        let base = system.start_functions().await;
        let gateway = system.start_gateway().await;
        system.user("ada").await.create_room("lobby").await;
        let body = json!({ "name": "ada", "password": stories::PASSWORD });
        let login = Answer::of(system.http.post(format!("{base}/login")).json(&body)).await.ok();
        assert_eq!(login["expiresIn"], 2);
        let token = login["accessToken"].as_str().unwrap();
        let lives = |token: &str| {
            let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims;
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
        };
        assert_eq!(lives(token), 2);
        let mut socket = stories::Socket::connect(&gateway.base, token).await;
        let get =
            |path: &str| Answer::of(system.http.get(format!("{base}{path}")).bearer_auth(token));
        let entered = get("/room/lobby").await.ok();
        assert_eq!(
            (&entered["ticketExpiresIn"], lives(entered["ticket"].as_str().unwrap())),
            (&json!(1234), 1234)
        );
        let refresh = json!({ "refreshToken": login["refreshToken"] });
        let renewed =
            Answer::of(system.http.post(format!("{base}/login/refresh")).json(&refresh)).await.ok();
        assert_eq!(renewed["expiresIn"], 2);
        assert_eq!(socket.expect("session-expired").await["code"], "token-expired");
        stories::eventually("the token to expire", || async {
            let answer = get("/user").await;
            (answer.status == 401).then(|| answer.problem(401, "token-expired"))
        })
        .await;
    }

    async fn a_new_password_ends_all_other_sessions(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, phone) = (system.user("ada").await, system.login("ada").await);
        let mut socket = phone.connect(&gateway).await;
        let new = json!({ "password": "a new password" });
        let missing = ada.patch("/user", new).await;
        missing.problem(422, "missing-field");
        assert_eq!(missing.body["errors"][0]["field"], "currentPassword");
        let change =
            |current: &str| json!({ "password": "a new password", "currentPassword": current });
        ada.patch("/user", change("wrong")).await.problem(403, "wrong-password");
        phone.get("/user").await.ok();

        let mut change = change(stories::PASSWORD);
        change["displayName"] = "Ada L.".into();
        assert_eq!(ada.patch("/user", change).await.ok()["displayName"], "Ada L.");
        socket.expect("session-expired").await;
        phone.get("/user").await.problem(401, "session-revoked");
        let refresh = json!({ "refreshToken": phone.refresh });
        system.post("/login/refresh", refresh).await.problem(401, "refresh-invalid");
        assert_eq!(ada.get("/user").await.ok()["displayName"], "Ada L.");
        let login =
            |password: &str| system.post("/login", json!({ "name": "ada", "password": password }));
        login(stories::PASSWORD).await.problem(401, "bad-credentials");
        login("a new password").await.ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_of_too_many_sessions_ends() {
    let system = System::new(stories::Database::Sqlite).await;
    let first = system.user("ada").await;
    let second = system.login("ada").await;
    for _ in 0..98 {
        system.login("ada").await;
    }
    first.get("/user").await.ok();
    system.login("ada").await;
    first.get("/user").await.problem(401, "session-revoked");
    second.get("/user").await.ok();
}

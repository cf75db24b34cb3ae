//! Requests about accounts, valid and invalid, and tokens in the wrong place.

use reqwest::{Method, header};
use serde_json::json;
use stories::{Answer, PASSWORD, PollingSession, System, User, WebSocket};

use super::secrets::Secrets;

/// Signs up, logs in, refreshes tokens and changes a password, with right and wrong input.
pub async fn use_accounts(system: &System, secrets: &mut Secrets) -> (User, User) {
    secrets.keep("a password", PASSWORD);
    let names = ["ada.lovelace-1815", "bob.babbage-1791"];
    let [mut ada, bob] = [system.user(names[0]).await, system.user(names[1]).await];
    for (name, user) in names.into_iter().zip([&ada, &bob]) {
        secrets.keep("a user's name", name);
        secrets.keep("an access token", &user.access);
        secrets.keep("a refresh token", &user.refresh);
    }
    let taken =
        json!({ "name": names[0], "password": secrets.keep("a password", "for a taken name") });
    system.post("/user", taken).await.problem(409, "name-taken");
    send_malformed_bodies(system, names[0], secrets).await;
    let guess = secrets.keep("a wrong password", "guessed and wrong");
    system
        .post("/login", json!({ "name": names[0], "password": guess }))
        .await
        .problem(401, "bad-credentials");

    let renewed = system.post("/login/refresh", json!({ "refreshToken": ada.refresh })).await.ok();
    let (_, refresh) = secrets.keep_tokens(&renewed);
    let cookie = |token: &str| {
        let cookie = format!("refreshToken={token}");
        let request = system.request(Method::POST, "/login/refresh").header(header::COOKIE, cookie);
        Answer::of(request.header(header::ORIGIN, &system.variables()["PUBLIC_URL"]))
    };
    let (_, next) = secrets.keep_tokens(&cookie(&refresh).await.ok());
    secrets.keep_tokens(&cookie(&refresh).await.ok());
    secrets.keep_tokens(&cookie(&next).await.ok());
    cookie(&secrets.keep("a refresh token", "a token that never was"))
        .await
        .problem(401, "refresh-invalid");
    cookie(&refresh).await.problem(401, "refresh-reused");

    let agent = secrets.keep("a user agent", "program-of-hers/7");
    let login = json!({ "name": names[0], "password": PASSWORD });
    let login =
        system.request(Method::POST, "/login").header(header::USER_AGENT, agent).json(&login);
    (ada.access, ada.refresh) = secrets.keep_tokens(&Answer::of(login).await.ok());
    let new = secrets.keep("a password", "a new password of hers");
    let shown = secrets.keep("a display name", "Countess of L.");
    let wrong = secrets.keep("a wrong password", "not the current one");
    let change = |current: &str| json!({ "displayName": shown, "password": new, "currentPassword": current });
    ada.patch("/user", change(&wrong)).await.problem(403, "wrong-password");
    ada.patch("/user", change(PASSWORD)).await.ok();
    for path in ["/user", "/user/session", "/user/export"] {
        ada.get(path).await.ok();
    }
    (ada, bob)
}

/// Sends bodies of sign-up and login that are not JSON or do not have the fields that are required.
async fn send_malformed_bodies(system: &System, name: &str, secrets: &mut Secrets) {
    for body in [
        format!(
            r#"{{"name":"{}","password":"{}""#,
            name,
            secrets.keep("a password", "cut off after it")
        ),
        format!(
            r#"{{"name":"{}","passwort":"{}"}}"#,
            name,
            secrets.keep("a password", "in another field")
        ),
        format!(
            r#"{{"name":"{}","password":["{}"]}}"#,
            name,
            secrets.keep("a password", "in an array")
        ),
        format!(r#"{{"name":"{}","password":"x"}}"#, secrets.keep("a name", "not a name of ours")),
    ] {
        let json = [(header::CONTENT_TYPE, "application/json")];
        for path in ["/user", "/login"] {
            let request = system.request(Method::POST, path).header(json[0].0.clone(), json[0].1);
            assert!(
                Answer::of(request.body(body.clone())).await.status.is_client_error(),
                "{body}"
            );
        }
    }
}

/// Sends invalid tokens, and valid tokens in places where none belongs.
pub async fn misplace_tokens(system: &System, gateway: &str, ada: &User, secrets: &mut Secrets) {
    let bad = secrets.keep("a bad token", "not-even-a-token");
    for authorization in [format!("Bearer {bad}"), format!("Basic {bad}"), bad.clone()] {
        let request =
            system.request(Method::GET, "/user").header(header::AUTHORIZATION, authorization);
        assert_eq!(Answer::of(request).await.status, 401);
    }
    for path in ["/user?access_token=", "/room?query=a&token=", "/nowhere/", "/file/", "/room/"] {
        let answer = system.request(Method::GET, &format!("{path}{}", ada.access));
        assert!(Answer::of(answer).await.status.is_client_error(), "{path}");
    }
    let query = format!("/socket.io/?EIO=4&transport=websocket&token={}", ada.access);
    let mut wire = WebSocket::open(gateway, &query).await;
    for packet in [
        format!("40{{\"token\":\"{bad}\"}}"),
        format!("40{{\"tokn\":\"{}\"}}", ada.access),
        format!("40{{\"token\":\"{}\"", ada.access),
    ] {
        wire.send(&packet).await;
    }
    wire.closed().await;
    let polling = PollingSession::open(gateway, "/socket.io/").await;
    secrets.keep("a session over HTTP", &polling.sid);
    polling.post(format!("40{{\"token\":\"{}\"}}", ada.access)).await;
    polling.until("40").await;
    polling.post(bad).await;
}

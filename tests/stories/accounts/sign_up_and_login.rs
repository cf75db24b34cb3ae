//! Sign-up, login and logout.

use reqwest::Method;
use serde_json::json;
use stories::{Answer, Closed, System, stories};

stories! {
    async fn a_user_signs_up_and_logs_in(system: System) {
        let body = json!({ "name": "Ada.L", "password": "correct horse", "displayName": "에이다" });
        let user = system.post("/user", body.clone()).await;
        assert_eq!(user.status, 201);
        assert_eq!(
            (&user.body["name"], &user.body["displayName"]),
            (&json!("ada.l"), &json!("에이다"))
        );
        system.post("/user", body).await.problem(409, "name-taken");

        let login = system
            .post("/login", json!({ "name": "ADA.L", "password": "correct horse" }))
            .await
            .ok();
        assert_eq!((&login["user"]["id"], &login["expiresIn"]), (&user.body["id"], &json!(900)));
        let token = login["accessToken"].as_str().unwrap();
        let me = Answer::of(system.request(Method::GET, "/user").bearer_auth(token)).await.ok();
        assert_eq!(me["name"], "ada.l");
    }

    async fn a_wrong_password_and_an_unknown_name_get_the_same_answer(system: System) {
        system.user("ada").await;
        let login =
            |name: &str| system.post("/login", json!({ "name": name, "password": "wrong" }));
        let (known, unknown, no_name) =
            (login("ada").await, login("bob").await, login("a b").await);
        known.problem(401, "bad-credentials");
        assert_eq!(known.body, unknown.body);
        assert_eq!(known.body, no_name.body);
    }

    async fn concurrent_sign_ups_of_a_name_have_one_winner(system: System) {
        let body = json!({ "name": "ada", "password": "correct horse" });
        let tries =
            futures_util::future::join_all((0..6).map(|_| system.post("/user", body.clone())))
                .await;
        assert_eq!(tries.iter().filter(|answer| answer.status == 201).count(), 1);
        assert_eq!(tries.iter().filter(|answer| answer.status == 409).count(), 5);
    }

    async fn logout_closes_only_the_sessions_sockets(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let elsewhere = system.login("ada").await;
        let mut socket = ada.connect(&gateway).await;
        let mut other = elsewhere.connect(&gateway).await;
        let logout = ada.post("/logout", json!({})).await;
        assert_eq!(logout.status, 204);
        let expired = socket.expect("session-expired").await;
        assert_eq!(expired["code"], "session-revoked");
        assert_eq!(socket.closed().await, Closed::Code(1000));
        ada.get("/user").await.problem(401, "session-revoked");
        let refresh = json!({ "refreshToken": ada.refresh });
        system.post("/login/refresh", refresh).await.problem(401, "refresh-invalid");
        // The revoked token opens no socket; the other session continues.
        let refused =
            stories::Socket::try_connect(&gateway.base, json!({ "token": ada.access })).await;
        assert_eq!(refused.err().unwrap()["data"]["code"], "session-revoked");
        other.refused("leave-room", json!({ "roomId": uuid::Uuid::now_v7() }), "not-joined").await;
    }
}

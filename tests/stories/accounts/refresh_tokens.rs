//! Refresh-token rotation: each token is valid once. A second use within the grace period is allowed, because a
//! lost response and a second tab look the same.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::json;
use stories::{Answer, PASSWORD, System, stories};

async fn refresh(system: &System, token: &str) -> Answer {
    system.post("/login/refresh", json!({ "refreshToken": token })).await
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["refreshToken"].as_str().unwrap().to_owned()
}

/// Sets the time at which tokens were used this far back.
async fn set_use_time_back(system: &System, seconds: i64) {
    let at = (Utc::now() - TimeDelta::seconds(seconds)).to_rfc3339();
    let statement = format!("UPDATE refresh_token SET used_at = '{at}' WHERE used_at IS NOT NULL");
    assert!(system.execute(&statement).await > 0);
}

stories! {
    async fn a_lost_refresh_response_is_repeated(system: System) {
        let ada = system.user("ada").await;
        let first = refresh(&system, &ada.refresh).await;
        set_use_time_back(&system, 2).await;
        let again = refresh(&system, &ada.refresh).await;
        assert_eq!(token(&first), token(&again));
        assert_ne!(token(&first), ada.refresh);
        for answer in [&first, &again] {
            let access = answer.body["accessToken"].as_str().unwrap();
            Answer::of(system.request(reqwest::Method::GET, "/user").bearer_auth(access))
                .await
                .ok();
        }
        // The successor is valid once as well.
        let third = token(&refresh(&system, &token(&again)).await);
        refresh(&system, "made-up").await.problem(401, "refresh-invalid");
        token(&refresh(&system, &third).await);
    }

    async fn reuse_after_the_successor_ends_the_session(system: System) {
        let ada = system.user("ada").await;
        let second = token(&refresh(&system, &ada.refresh).await);
        let third = token(&refresh(&system, &second).await);
        refresh(&system, &ada.refresh).await.problem(401, "refresh-reused");
        // A thief's or the owner's next use ends the session for both, with or without grace.
        refresh(&system, &third).await.problem(401, "refresh-invalid");
        refresh(&system, &second).await.problem(401, "refresh-reused");
        ada.get("/user").await.problem(401, "session-revoked");
        assert_eq!(
            system.count("SELECT COUNT(*) FROM outbox").await,
            0,
            "told once, and not owed any more"
        );
    }

    async fn reuse_after_the_grace_period_ends_the_session(system: System) {
        let ada = system.user("ada").await;
        let second = token(&refresh(&system, &ada.refresh).await);
        set_use_time_back(&system, 11).await;
        refresh(&system, &ada.refresh).await.problem(401, "refresh-reused");
        refresh(&system, &second).await.problem(401, "refresh-invalid");
        ada.get("/user").await.problem(401, "session-revoked");
    }

    async fn concurrent_refreshes_get_the_same_tokens(system: System) {
        let ada = system.user("ada").await;
        let mut current = ada.refresh.clone();
        for _ in 0..5 {
            let answers = join_all((0..10).map(|_| refresh(&system, &current))).await;
            let tokens: BTreeSet<String> = answers.iter().map(token).collect();
            assert_eq!(tokens.len(), 1);
            current = tokens.into_iter().next().unwrap();
        }
        assert_eq!(system.count("SELECT COUNT(*) FROM refresh_token").await, 6);
        ada.get("/user").await.ok();
    }

    async fn an_ended_session_has_no_grace_period(system: System) {
        let ada = system.user("ada").await;
        for how in ["logout", "another session", "a new password"] {
            let user = system.login("ada").await;
            let second = token(&refresh(&system, &user.refresh).await);
            match how {
                "logout" => assert_eq!(user.post("/logout", json!({})).await.status, 204),
                "another session" => {
                    let path = format!("/user/session/{}", system.claims(&user).session);
                    assert_eq!(ada.delete(&path).await.status, 204);
                }
                _ => {
                    let new = json!({ "password": "a new password", "currentPassword": PASSWORD });
                    ada.patch("/user", new).await.ok();
                }
            }
            refresh(&system, &user.refresh).await.problem(401, "refresh-reused");
            refresh(&system, &second).await.problem(401, "refresh-invalid");
        }
        ada.get("/user").await.ok();
    }

    async fn no_refresh_token_is_in_the_database(system: System) {
        let ada = system.user("ada").await;
        let second = token(&refresh(&system, &ada.refresh).await);
        let database = system.connect_database().await;
        let statement = "SELECT hash, successor_salt FROM refresh_token";
        let rows: Vec<(Vec<u8>, Option<Vec<u8>>)> = match &database {
            store::db::Database::Postgres(pool) => {
                sqlx::query_as(statement).fetch_all(&**pool).await
            }
            store::db::Database::Sqlite(pool) => sqlx::query_as(statement).fetch_all(&**pool).await,
        }
        .unwrap();
        database.close().await;
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.iter().filter(|(_, salt)| salt.is_some()).count(), 1);
        let stored = rows.into_iter().flat_map(|(hash, salt)| [Some(hash), salt]).flatten();
        for value in stored {
            for token in [&ada.refresh, &second] {
                assert_ne!(value, token.as_bytes());
                assert!(!token.contains(&String::from_utf8_lossy(&value)[..]));
            }
            // The stored values are no valid tokens.
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            refresh(&system, &hex).await.problem(401, "refresh-invalid");
        }
    }
}

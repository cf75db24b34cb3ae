//! A refresh token is good once. A lost answer and a second tab look like a second use, and are forgiven for a while.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::json;
use stories::{Answer, PASSWORD, World, stories};

async fn refresh(world: &World, token: &str) -> Answer {
    world.post("/login/refresh", json!({ "refreshToken": token })).await
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["refreshToken"].as_str().unwrap().to_owned()
}

/// As if tokens had been spent so long before.
async fn spent_earlier(world: &World, seconds: i64) {
    let at = (Utc::now() - TimeDelta::seconds(seconds)).to_rfc3339();
    let statement = format!("UPDATE refresh_token SET used_at = '{at}' WHERE used_at IS NOT NULL");
    assert!(world.sql(&statement).await > 0);
}

stories! {
    async fn a_lost_answer_is_given_again(world: World) {
        let ada = world.user("ada").await;
        let first = refresh(&world, &ada.refresh).await;
        spent_earlier(&world, 2).await;
        let again = refresh(&world, &ada.refresh).await;
        assert_eq!(token(&first), token(&again));
        assert_ne!(token(&first), ada.refresh);
        for answer in [&first, &again] {
            let access = answer.body["accessToken"].as_str().unwrap();
            Answer::of(world.request(reqwest::Method::GET, "/user").bearer_auth(access)).await.ok();
        }
        // It goes on from there: the successor is good once as well.
        let third = token(&refresh(&world, &token(&again)).await);
        refresh(&world, "made-up").await.problem(401, "refresh-invalid");
        token(&refresh(&world, &third).await);
    }

    async fn a_spent_token_whose_successor_was_used_ends_the_session(world: World) {
        let ada = world.user("ada").await;
        let second = token(&refresh(&world, &ada.refresh).await);
        let third = token(&refresh(&world, &second).await);
        refresh(&world, &ada.refresh).await.problem(401, "refresh-reused");
        // The thief's or the owner's next one: both are out, grace or not.
        refresh(&world, &third).await.problem(401, "refresh-invalid");
        refresh(&world, &second).await.problem(401, "refresh-reused");
        ada.get("/user").await.problem(401, "session-revoked");
        assert_eq!(world.count("SELECT COUNT(*) FROM outbox").await, 0, "told once, and not owed any more");
    }

    async fn after_the_grace_a_spent_token_ends_the_session(world: World) {
        let ada = world.user("ada").await;
        let second = token(&refresh(&world, &ada.refresh).await);
        spent_earlier(&world, 11).await;
        refresh(&world, &ada.refresh).await.problem(401, "refresh-reused");
        refresh(&world, &second).await.problem(401, "refresh-invalid");
        ada.get("/user").await.problem(401, "session-revoked");
    }

    async fn many_refreshes_at_once_get_the_same_answer(world: World) {
        let ada = world.user("ada").await;
        let mut current = ada.refresh.clone();
        for _ in 0..5 {
            let answers = join_all((0..10).map(|_| refresh(&world, &current))).await;
            let tokens: BTreeSet<String> = answers.iter().map(token).collect();
            assert_eq!(tokens.len(), 1);
            current = tokens.into_iter().next().unwrap();
        }
        assert_eq!(world.count("SELECT COUNT(*) FROM refresh_token").await, 6);
        ada.get("/user").await.ok();
    }

    async fn a_session_that_ended_has_no_grace(world: World) {
        let ada = world.user("ada").await;
        for how in ["logout", "another session", "a new password"] {
            let user = world.login("ada").await;
            let second = token(&refresh(&world, &user.refresh).await);
            match how {
                "logout" => assert_eq!(user.post("/logout", json!({})).await.status, 204),
                "another session" => {
                    let path = format!("/user/session/{}", world.claims(&user).session);
                    assert_eq!(ada.delete(&path).await.status, 204);
                }
                _ => {
                    let new = json!({ "password": "a new password", "currentPassword": PASSWORD });
                    ada.patch("/user", new).await.ok();
                }
            }
            refresh(&world, &user.refresh).await.problem(401, "refresh-reused");
            refresh(&world, &second).await.problem(401, "refresh-invalid");
        }
        ada.get("/user").await.ok();
    }

    async fn no_refresh_token_is_in_the_database(world: World) {
        let ada = world.user("ada").await;
        let second = token(&refresh(&world, &ada.refresh).await);
        let database = world.database().await;
        let statement = "SELECT hash, successor_salt FROM refresh_token";
        let rows: Vec<(Vec<u8>, Option<Vec<u8>>)> = match &database {
            store::db::Database::Postgres(pool) => sqlx::query_as(statement).fetch_all(&**pool).await,
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
            // What is stored opens nothing.
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            refresh(&world, &hex).await.problem(401, "refresh-invalid");
        }
    }
}

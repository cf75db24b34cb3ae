//! Invariants that must hold when requests run concurrently. Each test repeats the race many times, because
//! one run seldom hits it.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use serde_json::json;
use stories::{Answer, PASSWORD, System, User, stories};

const ROUNDS: usize = 8;

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

async fn owners(user: &User, room: &str) -> usize {
    let page = user.get(&format!("/room/{room}/member")).await.ok();
    page["items"].as_array().unwrap().iter().filter(|member| member["role"] == "owner").count()
}

fn password(round: usize) -> String {
    if round == 0 { PASSWORD.to_owned() } else { format!("{PASSWORD} {round}") }
}

/// The response to `change` while Ada logs in repeatedly until her password is wrong or `change` is done.
async fn logged_in_meanwhile(
    system: &System,
    password: &str,
    change: impl Future<Output = Answer>,
) -> Answer {
    let is_over = AtomicBool::new(false);
    let logins = join_all((0..3).map(async |_| {
        let body = json!({ "name": "ada", "password": password });
        while !is_over.load(Ordering::Relaxed) {
            if !system.post("/login", body.clone()).await.status.is_success() {
                return;
            }
        }
    }));
    let change = async {
        let changed = change.await;
        is_over.store(true, Ordering::Relaxed);
        changed
    };
    tokio::join!(logins, change).1
}

stories! {
    async fn one_of_two_leaving_owners_stays_owner(system: System) {
        let (ada, bob, eve) =
            (system.user("ada").await, system.user("bob").await, system.user("eve").await);
        let member = |room: &str, user: &User| format!("/room/{room}/member/{}", user.id);
        for round in 0..ROUNDS {
            let room = format!("room-{round}");
            ada.create_room(&room).await;
            for user in [&bob, &eve] {
                user.enter(&room).await;
            }
            ada.patch(&member(&room, &bob), json!({ "role": "owner" })).await.ok();
            let (one, other) = (member(&room, &ada), member(&room, &bob));
            let answers = match round % 3 {
                // Both leave; each demotes the other; one leaves while the other resigns.
                0 => join_all([ada.delete(&one), bob.delete(&other)]).await,
                1 => {
                    let role = || json!({ "role": "member" });
                    join_all([ada.patch(&other, role()), bob.patch(&one, role())]).await
                }
                _ => {
                    let (a, b) = tokio::join!(
                        ada.delete(&one),
                        bob.patch(&other, json!({ "role": "member" }))
                    );
                    vec![a, b]
                }
            };
            let done = answers.iter().filter(|answer| answer.status.is_success()).count();
            assert_eq!(done, 1, "round {round}: {answers:?}");
            assert_eq!(owners(&eve, &room).await, 1, "round {round}");
        }
    }

    async fn concurrent_rooms_of_a_name_have_one_winner(system: System) {
        let ada = system.user("ada").await;
        for round in 0..ROUNDS {
            // The same letters, composed and decomposed.
            let names = [format!("é{round}"), format!("e\u{301}{round}")];
            let posts = (0..6).map(|n| ada.post("/room", json!({ "name": names[n % 2] })));
            let answers = join_all(posts).await;
            assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 5));
        }
    }

    async fn concurrent_entries_join_once(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        let entered = join_all((0..8).map(|_| bob.get("/room/lobby"))).await;
        assert_eq!(count(&entered, 200), 8);
        assert_eq!(ada.enter("lobby").await["members"]["count"], 2);
        assert_eq!(ada.enter("lobby").await["head"], 2, "two people came, once each");
    }

    async fn a_ban_beats_a_concurrent_entry(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        for round in 0..ROUNDS {
            let room = format!("room-{round}");
            ada.create_room(&room).await;
            let ban = format!("/room/{room}/member/{}?ban=true", bob.id);
            let enter = format!("/room/{room}");
            tokio::join!(ada.delete(&ban), bob.get(&enter), bob.get(&enter));
            bob.get(&enter).await.problem(403, "banned");
            bob.get(&format!("{enter}/message")).await.problem(403, "banned");
        }
    }

    async fn concurrent_deletions_delete_a_room_once(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        let answers = join_all((0..6).map(|_| ada.delete("/room/lobby"))).await;
        assert_eq!((count(&answers, 204), count(&answers, 404)), (1, 5));
    }

    async fn concurrent_retries_store_a_message_once(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        let body = json!({ "id": uuid::Uuid::now_v7(), "msg": "once" });
        let answers = join_all((0..8).map(|_| ada.post("/room/lobby/message", body.clone()))).await;
        assert_eq!(count(&answers, 201), 8);
        let firsts = answers.iter().filter(|answer| answer.body["duplicate"] == false).count();
        assert_eq!(firsts, 1);
        assert!(answers.iter().all(|answer| answer.body["seq"] == answers[0].body["seq"]));
        assert_eq!(ada.get("/room/lobby/message").await.ok()["items"].as_array().unwrap().len(), 1);
    }

    async fn concurrent_completions_complete_a_file_once(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        let file = json!({ "name": "a.txt", "size": 3, "type": "text/plain" });
        let declared = ada.post("/room/lobby/file", file).await.ok();
        assert!(system.upload(&declared, b"abc").await.is_success());
        let path = format!("/file/{}/complete", declared["file"]["id"].as_str().unwrap());
        let answers = join_all((0..8).map(|_| ada.post(&path, json!({})))).await;
        assert_eq!(count(&answers, 200), 8);
        assert!(answers.iter().all(|answer| answer.body == answers[0].body));
        assert_eq!(
            system.count("SELECT COUNT(*) FROM file WHERE completed_at IS NOT NULL").await,
            1
        );
    }

    async fn no_login_with_the_old_password_survives(system: System) {
        let ada = system.user("ada").await;
        for round in 0..ROUNDS {
            let (old, new) = (password(round), password(round + 1));
            let change = ada.patch("/user", json!({ "password": new, "currentPassword": old }));
            let changed = logged_in_meanwhile(&system, &old, change).await;
            assert_eq!(changed.status, 200, "{}", changed.body);
            let live = "SELECT COUNT(*) FROM session WHERE revoked_at IS NULL";
            assert_eq!(system.count(live).await, 1, "round {round}: only the one that changed it");
            // The failed attempts of the others are forgotten.
            system.post("/login", json!({ "name": "ada", "password": new })).await.ok();
        }
    }

    async fn concurrent_new_passwords_have_one_winner(system: System) {
        let ada = system.user("ada").await;
        let mut current = PASSWORD.to_owned();
        for round in 0..ROUNDS {
            let new = ["one", "other"].map(|which| format!("{PASSWORD} {round} {which}"));
            let changes = new.iter().map(|new| {
                ada.patch("/user", json!({ "password": new, "currentPassword": current }))
            });
            let answers = join_all(changes).await;
            assert_eq!((count(&answers, 200), count(&answers, 403)), (1, 1), "{answers:?}");
            current = new[usize::from(answers[1].status == 200)].clone();
            system.post("/login", json!({ "name": "ada", "password": current })).await.ok();
        }
    }

    async fn concurrent_account_deletions_have_one_winner(system: System) {
        for _ in 0..ROUNDS {
            let ada = system.user("ada").await;
            let delete = || ada.delete_with("/user", json!({ "password": PASSWORD }));
            let answers = join_all([delete(), delete()]).await;
            assert_eq!((count(&answers, 204), count(&answers, 401)), (1, 1), "{answers:?}");
        }
    }

    async fn no_login_survives_its_account(system: System) {
        for round in 0..ROUNDS {
            let ada = system.user("ada").await;
            let delete = ada.delete_with("/user", json!({ "password": PASSWORD }));
            assert_eq!(logged_in_meanwhile(&system, PASSWORD, delete).await.status, 204);
            assert_eq!(system.count("SELECT COUNT(*) FROM session").await, 0, "round {round}");
        }
    }

    async fn a_logout_beats_a_concurrent_refresh(system: System) {
        for _ in 0..ROUNDS {
            let name = format!("u-{}", uuid::Uuid::now_v7().simple().to_string().split_off(12));
            let ada = system.user(&name).await;
            let (logout, body) = (json!({}), json!({ "refreshToken": ada.refresh }));
            let (out, renewed) =
                tokio::join!(ada.post("/logout", logout), system.post("/login/refresh", body));
            assert_eq!(out.status, 204);
            if renewed.status.is_success() {
                let body = json!({ "refreshToken": renewed.body["refreshToken"] });
                system.post("/login/refresh", body).await.problem(401, "refresh-invalid");
            }
        }
    }
}

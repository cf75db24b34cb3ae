//! Floods of requests that need a password hash are limited and delay only their sender.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};
use stories::{Answer, PASSWORD, System, User, stories};

const STRANGER: &str = "203.0.113.66";
const OWNER: &str = "192.0.2.1";

/// A request through a trusted proxy, which adds the client's address.
async fn post(system: &System, url: &str, from: &str, body: Value) -> Answer {
    Answer::of(system.http.post(url).json(&body).header("x-forwarded-for", from)).await
}

async fn create(user: &User, name: &str) -> Answer {
    user.post("/room", json!({ "name": name, "password": "sesame" })).await
}

/// Starts functions that hash one password at a time, for clients behind a proxy, and have none of the limits that
/// would end a flood earlier.
async fn start_functions_limited_by_hashing(system: &mut System) -> String {
    for (name, value) in [
        ("TRUSTED_PROXY_HOPS", "1"),
        ("ARGON2_CONCURRENCY", "1"),
        // No limit of sign-ups: the fair shares of hashing must be enough.
        ("LIMIT_SIGN_UPS", "0"),
        ("LIMIT_NEW_PASSWORDS", "0"),
        ("LIMIT_CONNECTIONS_PER_ADDRESS", "0"),
    ] {
        system.set_variable(name, value);
    }
    system.start_functions().await
}

stories! {
    async fn password_floods_block_no_login(system: System) {
        let mut system = system;
        let base = start_functions_limited_by_hashing(&mut system).await;
        system.user("ada").await;
        let mallory = system.user("mallory").await.at(&base);
        let free = async |round: usize, n: usize| {
            let body = json!({ "name": format!("free-{round}-{n}"), "password": PASSWORD });
            post(&system, &format!("{base}/user"), STRANGER, body).await
        };
        let taken = async |_| {
            let body = json!({ "name": "ada", "password": PASSWORD });
            post(&system, &format!("{base}/user"), STRANGER, body).await
        };
        let login = async |from: &str, name: &str, password: &str| {
            let body = json!({ "name": name, "password": password });
            post(&system, &format!("{base}/login"), from, body).await
        };
        let (is_over, logged_in) = (AtomicBool::new(false), AtomicUsize::new(0));
        let flood = async {
            let mut answers = (Vec::new(), Vec::new(), Vec::new());
            // Until the owner has logged in several times: how long a hash takes depends on the machine.
            for round in 0.. {
                let (free, taken, rooms, _) = tokio::join!(
                    join_all((0..230).map(async |n| free(round, n).await)),
                    join_all((0..60).map(taken)),
                    join_all(
                        (0..150).map(async |n| create(&mallory, &format!("room-{round}-{n}")).await)
                    ),
                    join_all(
                        (0..90).map(async |n| login(STRANGER, &format!("nobody-{n}"), "x").await)
                    ),
                );
                answers.0.extend(free);
                answers.1.extend(taken);
                answers.2.extend(rooms);
                if logged_in.load(Ordering::Relaxed) > 5 || round == 9 {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
            answers
        };
        let logins = async {
            let mut answers = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                answers.push(login(OWNER, "ada", PASSWORD).await);
                logged_in.store(answers.len(), Ordering::Relaxed);
            }
            answers
        };
        let ((free, taken, rooms), logins) = tokio::join!(flood, logins);
        assert!(logins.len() > 5, "{}", logins.len());
        for answer in logins {
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        // A taken name needs no hash, so it is refused at once even while hashing is busy.
        taken.iter().for_each(|answer| answer.problem(409, "name-taken"));
        for (what, answers) in [("sign-ups", free), ("rooms", rooms)] {
            let made = answers.iter().filter(|answer| answer.status == 201).count();
            assert!(made > 0, "{what} have a share of their own");
            let refused = answers.iter().filter(|answer| answer.status == 503).count();
            assert!(refused > 0, "{what}: it was a flood");
            assert_eq!(made + refused, answers.len(), "{what}");
        }
    }

    async fn sign_ups_per_network_are_limited_by_all_instances(system: System) {
        let mut system = system;
        system.set_variable("TRUSTED_PROXY_HOPS", "1");
        system.set_variable("LIMIT_SIGN_UPS", "3");
        let (one, other) = (system.start_functions().await, system.start_functions().await);
        system.set_variable("LIMIT_SIGN_UPS", "0");
        let unlimited = system.start_functions().await;
        let sign_up = async |base: &str, from: &str, name: &str| {
            let body = json!({ "name": name, "password": PASSWORD });
            post(&system, &format!("{base}/user"), from, body).await
        };
        sign_up(&one, STRANGER, "eve-1").await.ok();
        sign_up(&other, STRANGER, "eve-2").await.ok();
        sign_up(&one, STRANGER, "eve-2").await.problem(409, "name-taken");
        for (base, name) in [(&one, "eve-3"), (&other, "eve-2")] {
            let refused = sign_up(base, STRANGER, name).await;
            refused.problem(429, "too-many-attempts");
            let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1_000..=1_200).contains(&wait), "{wait}");
        }
        sign_up(&one, OWNER, "ada").await.ok();
        sign_up(&unlimited, STRANGER, "eve-4").await.ok();
        // After a third of an hour one sign-up is allowed again, and no more.
        assert_eq!(
            system.execute("UPDATE rate_limit SET allowed_at = allowed_at - 1210000").await,
            2
        );
        sign_up(&other, STRANGER, "eve-5").await.ok();
        sign_up(&other, STRANGER, "eve-6").await.problem(429, "too-many-attempts");
        // A network with its whole allowance needs no row.
        system.execute("UPDATE rate_limit SET allowed_at = 1").await;
        system.archive_once().await;
        assert_eq!(system.count("SELECT COUNT(*) FROM rate_limit").await, 0);
    }

    async fn new_passwords_of_one_user_are_limited(system: System) {
        let mut system = system;
        system.set_variable("LIMIT_NEW_PASSWORDS", "3");
        let base = system.start_functions().await;
        let (ada, bob) = (system.user("ada").await.at(&base), system.user("bob").await.at(&base));
        create(&ada, "one").await.ok();
        create(&ada, "one").await.problem(409, "room-exists");
        let change = json!({ "password": "open sesame" });
        ada.patch("/room/one", change.clone()).await.ok();
        let new = json!({ "password": "a new password", "currentPassword": PASSWORD });
        for refused in [
            create(&ada, "two").await,
            ada.patch("/room/one", change).await,
            ada.patch("/user", new).await,
        ] {
            refused.problem(429, "too-many-attempts");
            assert!(refused.headers.contains_key("retry-after"));
        }
        ada.post("/room", json!({ "name": "two" })).await.ok();
        ada.patch("/room/one", json!({ "title": "One", "password": null })).await.ok();
        create(&bob, "three").await.ok();
    }
}

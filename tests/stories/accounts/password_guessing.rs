//! Brute-force protection: wrong passwords delay the guesser at all instances and lock nobody else out.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use store::throttle::LoginAttempt;
use stories::{Answer, PASSWORD, System, stories};

/// A login through a trusted proxy, which adds the client's address.
async fn login(system: &System, base: &str, from: &str, name: &str, password: &str) -> Answer {
    let body = json!({ "name": name, "password": password });
    let request = system.http.post(format!("{base}/login")).json(&body);
    Answer::of(request.header("x-forwarded-for", format!("198.51.100.99, {from}"))).await
}

const STRANGER: &str = "203.0.113.66";
const OWNER: &str = "192.0.2.1";

/// A hash whose verification takes hours on any machine: it has the maximal number of passes.
const ENDLESS_HASH: &str =
    "$argon2id$v=19$m=8,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

stories! {
    async fn wrong_passwords_delay_only_the_guesser(system: System) {
        let mut system = system;
        system.user("ada").await;
        system.set_variable("TRUSTED_PROXY_HOPS", "1");
        let (one, other) = (system.start_functions().await, system.start_functions().await);
        for name in ["ada", "nobody"] {
            for base in [&one, &other, &one, &other, &one] {
                login(&system, base, STRANGER, name, "wrong").await.problem(401, "bad-credentials");
            }
            // The right password must wait too: otherwise the wait would show which password is right.
            for (base, password) in [(&one, "wrong"), (&other, PASSWORD)] {
                let refused = login(&system, base, STRANGER, name, password).await;
                refused.problem(429, "too-many-attempts");
                let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=2).contains(&wait), "{wait}");
            }
        }
        let elsewhere = login(&system, &one, OWNER, "ADA", PASSWORD).await;
        assert_eq!(elsewhere.status, 200, "{}", elsewhere.body);
        // Without a trusted proxy the header is ignored.
        for _ in 0..5 {
            let body = json!({ "name": "ada", "password": "wrong" });
            system.post("/login", body).await.problem(401, "bad-credentials");
        }
        let body = json!({ "name": "ada", "password": PASSWORD });
        let request = system.request(Method::POST, "/login").json(&body);
        let made_up = request.header("x-forwarded-for", "192.0.2.7");
        Answer::of(made_up).await.problem(429, "too-many-attempts");
    }

    async fn concurrent_guesses_are_counted_like_serial_ones(system: System) {
        system.user("ada").await;
        let guess = || system.post("/login", json!({ "name": "ada", "password": "wrong" }));
        let answers = join_all((0..20).map(|_| guess())).await;
        let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
        assert!((1..=5).contains(&looked_at), "{looked_at}");
        // On a busy machine, some requests time out in the queue of password hashing.
        let expected = [401, 429, 503];
        assert!(answers.iter().all(|answer| expected.contains(&answer.status.as_u16())));
        // The owner mistypes, waits and logs in: then the failures are forgotten.
        let owner = stories::eventually("the wait to be over", || async {
            let answer =
                system.post("/login", json!({ "name": "ada", "password": PASSWORD })).await;
            answer.status.is_success().then_some(())
        });
        owner.await;
        for _ in 0..5 {
            guess().await.problem(401, "bad-credentials");
        }
    }

    async fn right_passwords_never_wait_despite_wrong_clocks(system: System) {
        let guess = LoginAttempt::account("ada", "192.0.2.1".parse().unwrap());
        let database = system.connect_database().await;
        let admit = async || {
            let mut tx = database.begin().await.unwrap();
            guess.admit(&mut tx).await?;
            tx.commit().await.unwrap();
            Ok::<_, store::StoreError>(())
        };
        admit().await.unwrap();
        // Another instance, whose clock is wrong, counts an attempt.
        assert_eq!(
            system.execute("UPDATE attempt SET last_at = '2999-01-01T00:00:00+00:00'").await,
            2
        );
        let mut tx = database.begin().await.unwrap();
        guess.succeeded(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        admit().await.unwrap();
        database.close().await;
    }

    async fn failures_of_an_address_are_forgotten_after_an_hour(system: System) {
        let database = system.connect_database().await;
        let guess = async |name: &str| {
            let mut tx = database.begin().await.unwrap();
            LoginAttempt::account(name, "192.0.2.1".parse().unwrap()).admit(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
        };
        let failures = async || system.count("SELECT MAX(failures) FROM attempt").await;
        let earlier = async |minutes: i64| {
            let at = (chrono::Utc::now() - chrono::TimeDelta::minutes(minutes)).to_rfc3339();
            let set = format!("UPDATE attempt SET last_at = '{at}' WHERE failures > 1");
            assert_eq!(system.execute(&set).await, 1);
            format!("{set} AND last_at = '{at}'")
        };
        guess("ada").await;
        guess("bob").await;
        let not_moved = earlier(59).await;
        guess("eve").await;
        assert_eq!((failures().await, system.execute(&not_moved).await), (3, 1));
        earlier(61).await;
        guess("bob").await;
        assert_eq!(failures().await, 2, "bob's own; the address has one again");
        database.close().await;
    }

    async fn guesses_at_rooms_are_counted_per_user(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        for room in ["one", "two", "three"] {
            ada.post("/room", json!({ "name": room, "password": "sesame" })).await.ok();
        }
        let guess = async |room: &str| {
            bob.post(&format!("/room/{room}/member"), json!({ "password": "x" })).await
        };
        guess("one").await.problem(403, "wrong-password");
        system.execute("UPDATE attempt SET failures = 110 WHERE failures > 0").await;
        guess("two").await.problem(403, "wrong-password");
        guess("three").await.problem(429, "too-many-attempts");
        ada.get("/room/three").await.ok();
    }

    async fn a_stolen_token_does_not_bypass_the_wait(system: System) {
        let ada = system.user("ada").await;
        ada.post("/room", json!({ "name": "club", "password": "sesame" })).await.ok();
        let bob = system.user("bob").await;
        for _ in 0..5 {
            ada.delete_with("/user", json!({ "password": "wrong" }))
                .await
                .problem(403, "wrong-password");
            bob.post("/room/club/member", json!({ "password": "x" }))
                .await
                .problem(403, "wrong-password");
        }
        ada.delete_with("/user", json!({ "password": PASSWORD }))
            .await
            .problem(429, "too-many-attempts");
        bob.post("/room/club/member", json!({ "password": "sesame" }))
            .await
            .problem(429, "too-many-attempts");
    }

    async fn busy_hashing_is_refused(system: System) {
        let mut system = system;
        system.user("ada").await;
        let replace = format!("UPDATE account SET password_hash = '{ENDLESS_HASH}'");
        assert_eq!(system.execute(&replace).await, 1);
        system.set_variable("ARGON2_CONCURRENCY", "1");
        system.set_variable("TRUSTED_PROXY_HOPS", "1");
        // A process of its own, which can be killed while it hashes.
        let busy = system.start_server("functions", |_| {}).await;
        let occupying = async {
            login(&system, &busy.base, OWNER, "ada", PASSWORD).await;
            // The request has timed out. Hashing goes on.
            std::future::pending().await
        };
        let others = others_are_refused(&system, &busy.base);
        tokio::select! {
            () = occupying => unreachable!("it never ends"),
            () = others => {}
        }
        // Another instance has a slot. There an attempt is verified, and counted for address and account.
        let before = failures(&system).await;
        let body = json!({ "name": "nobody", "password": "wrong" });
        system.post("/login", body).await.problem(401, "bad-credentials");
        assert_eq!(failures(&system).await, before + 2);
        let body = json!({ "name": "bob", "password": PASSWORD });
        assert_eq!(system.post("/user", body).await.status, 201);
    }
}

/// While the only slot for hashing is taken.
async fn others_are_refused(system: &System, base: &str) {
    // Until the slot is taken, logins are verified.
    stories::eventually("the slot to be taken", || async {
        let refused = login(system, base, STRANGER, "nobody", "wrong").await;
        (refused.status == 503).then_some(())
    })
    .await;
    let before = failures(system).await;
    let sign_up = |n: usize| {
        let body = json!({ "name": format!("user-{n}"), "password": PASSWORD });
        Answer::of(system.http.post(format!("{base}/user")).json(&body))
    };
    let log_in = async |n: usize| {
        login(system, base, &format!("203.0.113.{n}"), &format!("nobody-{n}"), "wrong").await
    };
    let (sign_ups, logins) =
        tokio::join!(join_all((0..10).map(sign_up)), join_all((0..10).map(log_in)));
    for answer in sign_ups.iter().chain(&logins) {
        answer.problem(503, "busy");
        assert_eq!(answer.headers["retry-after"], "1");
    }
    // Attempts that were not verified do not count, neither for the address nor for the account.
    assert_eq!(failures(system).await, before);
}

async fn failures(system: &System) -> i64 {
    system.count("SELECT CAST(COALESCE(SUM(failures), 0) AS BIGINT) FROM attempt").await
}

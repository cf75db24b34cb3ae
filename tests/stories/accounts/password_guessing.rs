//! Passwords are guessed slowly, whichever instance is asked, and nobody is locked out by a stranger.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use store::throttle::LoginAttempt;
use stories::{Answer, PASSWORD, World, stories};

/// A login through a proxy of ours, which says where it comes from.
async fn login(world: &World, base: &str, from: &str, name: &str, password: &str) -> Answer {
    let body = json!({ "name": name, "password": password });
    let request = world.http.post(format!("{base}/login")).json(&body);
    Answer::of(request.header("x-forwarded-for", format!("198.51.100.99, {from}"))).await
}

const STRANGER: &str = "203.0.113.66";
const OWNER: &str = "192.0.2.1";

stories! {
    async fn guessing_waits_everywhere_and_locks_nobody_out(world: World) {
        let mut world = world;
        world.user("ada").await;
        world.set("TRUSTED_PROXY_HOPS", "1");
        let (one, other) = (world.functions().await, world.functions().await);
        for name in ["ada", "nobody"] {
            for base in [&one, &other, &one, &other, &one] {
                login(&world, base, STRANGER, name, "wrong").await.problem(401, "bad-credentials");
            }
            // Also the right one: else the wait would tell which is right.
            for (base, password) in [(&one, "wrong"), (&other, PASSWORD)] {
                let refused = login(&world, base, STRANGER, name, password).await;
                refused.problem(429, "too-many-attempts");
                let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=2).contains(&wait), "{wait}");
            }
        }
        let elsewhere = login(&world, &one, OWNER, "ADA", PASSWORD).await;
        assert_eq!(elsewhere.status, 200, "{}", elsewhere.body);
        // Without a proxy of ours the header is anybody's invention.
        for _ in 0..5 {
            let body = json!({ "name": "ada", "password": "wrong" });
            world.post("/login", body).await.problem(401, "bad-credentials");
        }
        let body = json!({ "name": "ada", "password": PASSWORD });
        let request = world.request(Method::POST, "/login").json(&body);
        let made_up = request.header("x-forwarded-for", "192.0.2.7");
        Answer::of(made_up).await.problem(429, "too-many-attempts");
    }

    async fn many_guesses_at_once_are_no_more_than_one_after_the_other(world: World) {
        world.user("ada").await;
        let guess = || world.post("/login", json!({ "name": "ada", "password": "wrong" }));
        let answers = join_all((0..20).map(|_| guess())).await;
        let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
        assert!((1..=5).contains(&looked_at), "{looked_at}");
        // On a machine with more to do than this, some wait for their turn too long.
        let expected = [401, 429, 503];
        assert!(answers.iter().all(|answer| expected.contains(&answer.status.as_u16())));
        // The owner mistyped, waits, and is in: then all is forgiven.
        let owner = stories::eventually("the wait to be over", || async {
            let answer = world.post("/login", json!({ "name": "ada", "password": PASSWORD })).await;
            answer.status.is_success().then_some(())
        });
        owner.await;
        for _ in 0..5 {
            guess().await.problem(401, "bad-credentials");
        }
    }

    async fn a_right_password_makes_nobody_wait_whatever_clocks_say(world: World) {
        let guess = LoginAttempt::account("ada", "192.0.2.1".parse().unwrap());
        let database = world.database().await;
        let admit = async || {
            let mut tx = database.begin().await.unwrap();
            guess.admit(&mut tx).await?;
            tx.commit().await.unwrap();
            Ok::<_, store::StoreError>(())
        };
        admit().await.unwrap();
        // As another instance, whose clock is wrong, counts one meanwhile.
        assert_eq!(world.sql("UPDATE attempt SET last_at = '2999-01-01T00:00:00+00:00'").await, 2);
        let mut tx = database.begin().await.unwrap();
        guess.succeeded(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        admit().await.unwrap();
        database.close().await;
    }

    async fn of_an_address_an_hour_is_forgotten_however_many_come_from_it(world: World) {
        let database = world.database().await;
        let guess = async |name: &str| {
            let mut tx = database.begin().await.unwrap();
            LoginAttempt::account(name, "192.0.2.1".parse().unwrap()).admit(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
        };
        let failures = async || world.count("SELECT MAX(failures) FROM attempt").await;
        let earlier = async |minutes: i64| {
            let at = (chrono::Utc::now() - chrono::TimeDelta::minutes(minutes)).to_rfc3339();
            let set = format!("UPDATE attempt SET last_at = '{at}' WHERE failures > 1");
            assert_eq!(world.sql(&set).await, 1);
            format!("{set} AND last_at = '{at}'")
        };
        guess("ada").await;
        guess("bob").await;
        let not_moved = earlier(59).await;
        guess("eve").await;
        assert_eq!((failures().await, world.sql(&not_moved).await), (3, 1));
        earlier(61).await;
        guess("bob").await;
        assert_eq!(failures().await, 2, "bob's own; the address has one again");
        database.close().await;
    }

    async fn guesses_at_many_rooms_are_counted_by_who_makes_them(world: World) {
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        for room in ["one", "two", "three"] {
            ada.post("/room", json!({ "name": room, "password": "sesame" })).await.ok();
        }
        let guess = async |room: &str| bob.post(&format!("/room/{room}/member"), json!({ "password": "x" })).await;
        guess("one").await.problem(403, "wrong-password");
        world.sql("UPDATE attempt SET failures = 110 WHERE failures > 0").await;
        guess("two").await.problem(403, "wrong-password");
        guess("three").await.problem(429, "too-many-attempts");
        ada.get("/room/three").await.ok();
    }

    async fn a_stolen_token_is_no_way_around_the_wait(world: World) {
        let ada = world.user("ada").await;
        ada.post("/room", json!({ "name": "club", "password": "sesame" })).await.ok();
        let bob = world.user("bob").await;
        for _ in 0..5 {
            ada.delete_with("/user", json!({ "password": "wrong" })).await.problem(403, "wrong-password");
            bob.post("/room/club/member", json!({ "password": "x" })).await.problem(403, "wrong-password");
        }
        ada.delete_with("/user", json!({ "password": PASSWORD })).await.problem(429, "too-many-attempts");
        bob.post("/room/club/member", json!({ "password": "sesame" })).await.problem(429, "too-many-attempts");
    }

    async fn hashing_is_bounded_and_says_so(world: World) {
        let mut world = world;
        world.set("ARGON2_CONCURRENCY", "1");
        world.set("TRUSTED_PROXY_HOPS", "1");
        world.set("LIMIT_CONNECTIONS_PER_ADDRESS", "0");
        let base = world.functions().await;
        let sign_up = |n: usize| {
            let body = json!({ "name": format!("user-{n}"), "password": PASSWORD });
            Answer::of(world.http.post(format!("{base}/user")).json(&body))
        };
        let login = async |n: usize| {
            // From two addresses, each below its limit of wrong passwords.
            let from = [STRANGER, OWNER][n % 2];
            login(&world, &base, from, &format!("nobody-{n}"), "wrong").await
        };
        let (answers, logins) =
            tokio::join!(join_all((0..140).map(sign_up)), join_all((0..160).map(login)));
        // What nobody had the time to look at was no guess: of an address, and of it at one account.
        let wrong = logins.iter().filter(|answer| answer.status == 401).count();
        assert!((1..160).contains(&wrong), "{wrong} had their turn");
        let failures = "SELECT CAST(COALESCE(SUM(failures), 0) AS BIGINT) FROM attempt";
        assert_eq!(world.count(failures).await, 2 * wrong as i64);
        for answers in [&answers, &logins] {
            let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 503).collect();
            assert!(!refused.is_empty());
            for answer in refused {
                answer.problem(503, "busy");
                assert_eq!(answer.headers["retry-after"], "1");
            }
        }
        assert!(answers.iter().filter(|answer| answer.status == 201).count() > 5);
    }
}

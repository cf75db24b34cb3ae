//! Processes are killed at any time: every event is published exactly once and in order, and unfinished work
//! is completed afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use protocol::{RoomId, UserId, stored::StoredEvent};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use stories::{Answer, DEADLINE, POLL_INTERVAL, Server, System, User, eventually, signal, stories};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

/// Repeats a request until it succeeds. Only lost connections and 503 may be retried.
async fn retry_until_done(request: impl Fn() -> RequestBuilder) {
    let asked = async {
        loop {
            let Ok(response) = request().send().await else { continue };
            let (status, text) = (response.status(), response.text().await.unwrap_or_default());
            // A retried leave finds that the user has left: the first response was lost.
            if status.is_success() || text.contains("not-a-member") {
                return;
            }
            assert_eq!(status, 503, "{text}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap();
}

/// Requests of several users until the token is cancelled, and the number of completed requests.
#[derive(Clone, Default)]
struct BackgroundTraffic {
    stop: CancellationToken,
    done: Arc<AtomicUsize>,
}

impl BackgroundTraffic {
    /// Enters and leaves the room repeatedly; returns how often.
    async fn come_and_go(self, user: User) -> usize {
        let member = format!("/room/lobby/member/{}", user.id);
        let mut times = 0;
        while !self.stop.is_cancelled() {
            for (method, path) in [(Method::GET, "/room/lobby"), (Method::DELETE, &*member)] {
                retry_until_done(|| user.request(method.clone(), path)).await;
                self.done.fetch_add(1, Relaxed);
            }
            times += 1;
        }
        times
    }

    /// Sends numbers as messages; returns how many.
    async fn count(self, user: User) -> usize {
        let mut number = 0;
        while !self.stop.is_cancelled() {
            let body = json!({ "id": uuid::Uuid::now_v7(), "msg": number.to_string() });
            retry_until_done(|| user.request(Method::POST, "/room/lobby/message").json(&body))
                .await;
            self.done.fetch_add(1, Relaxed);
            number += 1;
        }
        number
    }

    /// Waits until some more requests are completed.
    async fn makes_progress(&self) {
        let enough = self.done.load(Relaxed) + 10;
        eventually("work to go on", || async { (self.done.load(Relaxed) >= enough).then_some(()) })
            .await;
    }
}

/// The processes that are killed, besides NATS.
struct KillableProcesses {
    functions: Server,
    archive: Child,
}

impl KillableProcesses {
    async fn start(system: &System) -> Self {
        let functions = system.start_server("functions", |_| {}).await;
        let archive = system.start_process("archive", &["--follow"]);
        Self { functions, archive }
    }

    async fn kill_functions(&mut self, system: &System) {
        self.functions.child.kill().await.unwrap();
        let address = ["--listen", &self.functions.address];
        self.functions.child = system.start_process("functions", &address);
    }

    async fn kill_archive(&mut self, system: &System) {
        self.archive.kill().await.unwrap();
        self.archive = system.start_process("archive", &["--follow"]);
    }

    /// Kills the functions after they have published and before NATS answers.
    async fn kill_functions_before_the_answer(&mut self, system: &System) {
        signal(system.nats.id(), "-STOP");
        eventually("something to be owed", || async {
            (system.count("SELECT COUNT(*) FROM outbox").await > 0).then_some(())
        })
        .await;
        self.kill_functions(system).await;
        signal(system.nats.id(), "-CONT");
    }
}

/// Ends all connections to the database, as a restart of its server does.
async fn cut_off_from_the_database(system: &System) {
    if system.is_postgres() {
        system
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
    }
}

/// How often a user joined. Asserts that joins and leaves alternate.
fn visits(events: &[StoredEvent], who: UserId) -> usize {
    let (mut visits, mut is_in) = (0, false);
    for event in events {
        let comes = match event {
            StoredEvent::MemberJoined { user, .. } if user.id == who => true,
            StoredEvent::MemberLeft { user, .. } if user.id == who => false,
            _ => continue,
        };
        assert_ne!(is_in, comes, "told twice, or not told, after {visits} visits");
        is_in = comes;
        visits += usize::from(comes);
    }
    visits
}

fn numbers(events: &[StoredEvent]) -> Vec<String> {
    let number = |event: &StoredEvent| match event {
        StoredEvent::ReceiveMsg(message) => Some(message.msg.as_str().to_owned()),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}

async fn outbox_is_empty(system: &System) {
    eventually("the outbox to be empty", || async {
        (system.count("SELECT COUNT(*) FROM outbox").await == 0).then_some(())
    })
    .await;
}

/// Fills a room with more messages than one sweep removes; returns how many.
async fn fill(system: &System, room: RoomId, author: UserId) -> i64 {
    let (id, author) = (room.as_uuid(), author.as_uuid());
    let rows = if system.is_postgres() {
        format!(
            "SELECT '{id}'::uuid, n, gen_random_uuid(), '{author}'::uuid, 'Ada', 'x', now()
             FROM generate_series(1000, 120999) n"
        )
    } else {
        format!(
            "WITH RECURSIVE s(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM s WHERE n < 120999)
             SELECT X'{}', n, randomblob(16), X'{}', 'Ada', 'x', strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')
             FROM s",
            id.simple(),
            author.simple()
        )
    };
    let columns = "room_id, seq, id, author_id, author_name, msg, at";
    system.execute(&format!("INSERT INTO message ({columns}) {rows}")).await as i64
}

stories! {
    async fn every_event_is_published_once(system: System) {
        let mut system = system;
        let (ada, bob, cyd) =
            (system.user("ada").await, system.user("bob").await, system.user("cyd").await);
        let room = ada.create_room("lobby").await;
        system.set_archive_ack_wait(Duration::from_secs(2)).await;
        let mut processes = KillableProcesses::start(&system).await;
        let traffic = BackgroundTraffic::default();
        let at = |user: &User| user.at(&processes.functions.base);
        let visitors = [&bob, &cyd].map(|user| tokio::spawn(traffic.clone().come_and_go(at(user))));
        let counting = tokio::spawn(traffic.clone().count(at(&ada)));
        for _ in 0..3 {
            traffic.makes_progress().await;
            processes.kill_functions(&system).await;
            traffic.makes_progress().await;
            processes.kill_archive(&system).await;
            traffic.makes_progress().await;
            processes.kill_functions_before_the_answer(&system).await;
            traffic.makes_progress().await;
            cut_off_from_the_database(&system).await;
            traffic.makes_progress().await;
            system.restart_nats();
        }
        traffic.makes_progress().await;
        traffic.stop.cancel();
        let sent = counting.await.unwrap();
        outbox_is_empty(&system).await;
        let events = system.stored_events(room).await;
        for (user, visitor) in [&bob, &cyd].into_iter().zip(visitors) {
            assert_eq!(visits(&events, user.id), visitor.await.unwrap());
        }
        let expected: Vec<String> = (0..sent).map(|number| number.to_string()).collect();
        assert_eq!(numbers(&events), expected);
        eventually("all to be archived", || async {
            (system.count_messages().await == sent as i64).then_some(())
        })
        .await;
    }

    async fn a_killed_deletion_is_resumed(system: System) {
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let filled = fill(&system, room, ada.id).await;
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
        let mut left = filled;
        let mut cut_short = 0;
        while left > 0 {
            let mut archive = system.start_process("archive", &["--follow"]);
            left = eventually("a step", || async {
                Some(system.count_messages().await).filter(|now| *now < left)
            })
            .await;
            archive.kill().await.unwrap();
            cut_short += usize::from(left > 0);
        }
        assert!(cut_short > 0, "never in the middle");
        let _archive = system.start_process("archive", &["--follow"]);
        eventually("the room to be empty", || async {
            (system.count("SELECT COUNT(*) FROM room WHERE emptied_at IS NOT NULL").await == 1)
                .then_some(())
        })
        .await;
        assert!(matches!(*system.stored_events(room).await, [StoredEvent::RoomDeleted { .. }]));
        Answer::of(ada.request(Method::GET, "/room/lobby")).await.problem(404, "no-such-room");
    }
}

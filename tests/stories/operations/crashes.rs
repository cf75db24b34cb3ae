//! Whatever is killed, and whenever: what happened is told once, in its order, and what was begun is
//! brought to its end.

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
use stories::{Answer, SOON, User, World, eventually, signal, stories};
use tokio::{net::TcpListener, process::Child};
use tokio_util::sync::CancellationToken;

/// Asks until it is said to be done, by whoever is there to say it. Only 503 asks to be asked again.
async fn insist(request: impl Fn() -> RequestBuilder) {
    let asked = async {
        loop {
            let Ok(response) = request().send().await else { continue };
            let (status, text) = (response.status(), response.text().await.unwrap_or_default());
            // Who asks to leave once more, because the first answer was lost, has left.
            if status.is_success() || text.contains("not-a-member") {
                return;
            }
            assert_eq!(status, 503, "{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, asked).await.unwrap();
}

/// What people do in the room until they are told to stop, and how much all of them have done.
#[derive(Clone, Default)]
struct Bustle {
    stop: CancellationToken,
    done: Arc<AtomicUsize>,
}

impl Bustle {
    /// Comes and goes; how many times.
    async fn come_and_go(self, user: User) -> usize {
        let member = format!("/room/lobby/member/{}", user.id);
        let mut times = 0;
        while !self.stop.is_cancelled() {
            for (method, path) in [(Method::GET, "/room/lobby"), (Method::DELETE, &*member)] {
                insist(|| user.request(method.clone(), path)).await;
                self.done.fetch_add(1, Relaxed);
            }
            times += 1;
        }
        times
    }

    /// Sends numbers, each under an id of its own; how many.
    async fn count(self, user: User) -> usize {
        let mut number = 0;
        while !self.stop.is_cancelled() {
            let body = json!({ "id": uuid::Uuid::now_v7(), "msg": number.to_string() });
            insist(|| user.request(Method::POST, "/room/lobby/message").json(&body)).await;
            self.done.fetch_add(1, Relaxed);
            number += 1;
        }
        number
    }

    /// Until they have done some more.
    async fn goes_on(&self) {
        let enough = self.done.load(Relaxed) + 10;
        eventually("work to go on", || async { (self.done.load(Relaxed) >= enough).then_some(()) })
            .await;
    }
}

/// The processes that get killed, beside NATS.
struct Victims {
    address: String,
    functions: Child,
    archive: Child,
}

impl Victims {
    async fn start(world: &World) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let address = free.to_string();
        let functions = world.process("functions", &["--listen", &address]);
        let archive = world.process("archive", &["--follow"]);
        world.ready(&address).await;
        Self { address, functions, archive }
    }

    async fn kill_functions(&mut self, world: &World) {
        self.functions.kill().await.unwrap();
        self.functions = world.process("functions", &["--listen", &self.address]);
    }

    async fn kill_archive(&mut self, world: &World) {
        self.archive.kill().await.unwrap();
        self.archive = world.process("archive", &["--follow"]);
    }

    /// The functions die while NATS has what they published and has not answered.
    async fn kill_functions_before_the_answer(&mut self, world: &World) {
        signal(world.nats.id(), "-STOP");
        eventually("something to be owed", || async {
            (world.count("SELECT COUNT(*) FROM outbox").await > 0).then_some(())
        })
        .await;
        self.kill_functions(world).await;
        signal(world.nats.id(), "-CONT");
    }
}

/// Every connection to the database ends, as when its server restarts.
async fn cut_off_from_the_database(world: &World) {
    if world.is_postgres() {
        world
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
    }
}

/// How often somebody came. That they came and left by turns is checked.
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

async fn nothing_is_owed(world: &World) {
    eventually("the outbox to be empty", || async {
        (world.count("SELECT COUNT(*) FROM outbox").await == 0).then_some(())
    })
    .await;
}

/// A room full of messages, more than one sweep removes; how many.
async fn fill(world: &World, room: RoomId, author: UserId) -> i64 {
    let (id, author) = (room.as_uuid(), author.as_uuid());
    let rows = if world.is_postgres() {
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
    world.sql(&format!("INSERT INTO message ({columns}) {rows}")).await as i64
}

stories! {
    async fn every_event_is_told_once(world: World) {
        let mut world = world;
        let (ada, bob, cyd) = (world.user("ada").await, world.user("bob").await, world.user("cyd").await);
        let room = ada.create_room("lobby").await;
        world.give_again_after(Duration::from_secs(2)).await;
        let mut victims = Victims::start(&world).await;
        let bustle = Bustle::default();
        let at = |user: &User| user.at(&format!("http://{}", victims.address));
        let visitors = [&bob, &cyd].map(|user| tokio::spawn(bustle.clone().come_and_go(at(user))));
        let counting = tokio::spawn(bustle.clone().count(at(&ada)));
        for _ in 0..3 {
            bustle.goes_on().await;
            victims.kill_functions(&world).await;
            bustle.goes_on().await;
            victims.kill_archive(&world).await;
            bustle.goes_on().await;
            victims.kill_functions_before_the_answer(&world).await;
            bustle.goes_on().await;
            cut_off_from_the_database(&world).await;
            bustle.goes_on().await;
            world.restart_nats();
        }
        bustle.goes_on().await;
        bustle.stop.cancel();
        let sent = counting.await.unwrap();
        nothing_is_owed(&world).await;
        let events = world.events(room).await;
        for (user, visitor) in [&bob, &cyd].into_iter().zip(visitors) {
            assert_eq!(visits(&events, user.id), visitor.await.unwrap());
        }
        let expected: Vec<String> = (0..sent).map(|number| number.to_string()).collect();
        assert_eq!(numbers(&events), expected);
        eventually("all to be archived", || async {
            (world.count_messages().await == sent as i64).then_some(())
        })
        .await;
    }

    async fn a_deletion_goes_on_where_it_was_killed(world: World) {
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        let filled = fill(&world, room, ada.id).await;
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
        let mut left = filled;
        let mut cut_short = 0;
        while left > 0 {
            let mut archive = world.process("archive", &["--follow"]);
            left = eventually("a step", || async {
                Some(world.count_messages().await).filter(|now| *now < left)
            })
            .await;
            archive.kill().await.unwrap();
            cut_short += usize::from(left > 0);
        }
        assert!(cut_short > 0, "never in the middle");
        let _archive = world.process("archive", &["--follow"]);
        eventually("the room to be empty", || async {
            (world.count("SELECT COUNT(*) FROM room WHERE emptied_at IS NOT NULL").await == 1).then_some(())
        })
        .await;
        assert!(matches!(*world.events(room).await, [StoredEvent::RoomDeleted { .. }]));
        Answer::of(ada.request(Method::GET, "/room/lobby")).await.problem(404, "no-such-room");
    }
}

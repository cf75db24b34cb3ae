//! The functions sign with a new key that the gateway has not fetched yet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Json, Router, routing::get};
use protocol::{Role, RoomId, token::Minter};
use serde_json::{Value, json};
use stories::{Database, Gateway, System, User};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
};

/// A JWKS server whose keys can change.
struct KeyServer {
    keys: watch::Sender<Value>,
    /// The number of requests.
    asked: Arc<AtomicUsize>,
    /// Whether it answers, or holds requests until it may.
    held: Arc<(watch::Sender<bool>, Notify)>,
}

impl KeyServer {
    async fn start(system: &mut System) -> Self {
        let keys = watch::Sender::new(json!(system.minter.jwks()));
        let (asked, held) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(false));
        let held = Arc::new((held, Notify::new()));
        let (answer, count, wait) = (keys.subscribe(), asked.clone(), held.clone());
        let serve = get(move || {
            let (answer, count, wait) = (answer.clone(), count.clone(), wait.clone());
            async move {
                count.fetch_add(1, SeqCst);
                if *wait.0.borrow() {
                    wait.1.notify_one();
                    // The request waits until the test allows an answer.
                    let _ = wait.0.subscribe().wait_for(|held| !held).await;
                }
                Json(answer.borrow().clone())
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        system.set_variable("JWKS_URL", &format!("http://{}", listener.local_addr().unwrap()));
        let router = Router::new().route("/", serve);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { keys, asked, held }
    }

    /// Signs with a new key from now on and publishes both keys.
    fn rotate(&self) -> Minter {
        let key = local::secrets::generate_key().unwrap();
        let minter = Minter::from_pem(&key.into()).unwrap();
        self.keys.send_modify(|keys| {
            let new = json!(minter.jwks())["keys"][0].clone();
            keys["keys"].as_array_mut().unwrap().push(new);
        });
        minter
    }
}

async fn system() -> (System, KeyServer, Gateway, User) {
    let mut system = System::new(Database::Sqlite).await;
    let keys = KeyServer::start(&mut system).await;
    system.set_variable("GATEWAY_THREADS", "1");
    let gateway = system.start_gateway().await;
    let ada = system.user("ada").await;
    (system, keys, gateway, ada)
}

/// The data of `join-room` with a ticket of this minter, for a room without a row in the database.
fn join(system: &System, minter: &Minter, user: &User, room: RoomId) -> Value {
    let name = user.name.parse().unwrap();
    let ticket = minter.ticket(&system.claims(user), name, room, Role::Member, 0).unwrap();
    json!({ "roomId": room, "userId": user.id, "ticket": ticket })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_new_key_are_accepted_in_order() {
    let (system, keys, gateway, ada) = system().await;
    let mut socket = ada.connect(&gateway).await;
    let (room, claims) = (RoomId::generate(), system.claims(&ada));
    let new = keys.rotate();
    let joined = socket.emit("join-room", join(&system, &new, &ada, room)).await;
    let sent = socket.emit("send-msg", json!({ "roomId": room, "msg": "right behind it" })).await;
    assert_eq!(socket.ack(joined).await["ok"], true);
    let sent = socket.ack(sent).await;
    assert_eq!(sent["ok"], true, "the event behind it waited: {sent}");
    // Another new key, for an access token.
    let newer = keys.rotate();
    let token = newer.access(claims.user, claims.session).unwrap();
    let refreshed = socket.emit("refresh", json!({ "token": token })).await;
    let sent = socket.emit("send-msg", json!({ "roomId": room, "msg": "and behind that" })).await;
    assert_eq!(socket.ack(refreshed).await["ok"], true);
    assert_eq!(socket.ack(sent).await["ok"], true);
    // And another for a token in the handshake.
    let newest = keys.rotate();
    let token = newest.access(claims.user, claims.session).unwrap();
    stories::Socket::connect(&gateway.base, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetching_a_key_blocks_no_other_socket() {
    let (system, keys, gateway, ada) = system().await;
    let (bob, room) = (system.user("bob").await, RoomId::generate());
    let mut waits = ada.connect(&gateway).await;
    let mut neighbour = bob.connect(&gateway).await;
    neighbour.ok("join-room", join(&system, &system.minter, &bob, room)).await;
    let new = keys.rotate();
    keys.held.0.send_replace(true);
    let joined = waits.emit("join-room", join(&system, &new, &ada, room)).await;
    // The gateway requests the keys and gets no answer yet.
    tokio::time::timeout(stories::DEADLINE, keys.held.1.notified()).await.unwrap();
    for _ in 0..5 {
        neighbour.ok("send-msg", json!({ "roomId": room, "msg": "meanwhile" })).await;
    }
    keys.held.0.send_replace(false);
    assert_eq!(waits.ack(joined).await["ok"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_keys_are_refused_and_rarely_fetched() {
    let (system, keys, gateway, ada) = system().await;
    let mut socket = ada.connect(&gateway).await;
    let claims = system.claims(&ada);
    let foreign = Minter::from_pem(&local::secrets::generate_key().unwrap().into()).unwrap();
    let (before, started) = (keys.asked.load(SeqCst), std::time::Instant::now());
    let mut others = Vec::new();
    for _ in 0..10 {
        others.push(ada.connect(&gateway).await);
    }
    for other in &mut others {
        other.emit("join-room", join(&system, &foreign, &ada, RoomId::generate())).await;
    }
    for other in &mut others {
        assert_eq!(other.ack(1).await["error"]["code"], "ticket-invalid");
    }
    let token = foreign.access(claims.user, claims.session).unwrap();
    socket.refused("refresh", json!({ "token": token }), "token-invalid").await;
    let asked = keys.asked.load(SeqCst) - before;
    let most = started.elapsed().as_secs_f64() / Duration::from_secs(2).as_secs_f64() + 2.0;
    assert!(asked as f64 <= most, "{asked} times, {most} at most");
    // The socket still works.
    socket.ok("join-room", join(&system, &system.minter, &ada, RoomId::generate())).await;
}

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
use stories::{Database, Gateway, User, World};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
};

/// A server of public keys that can change them.
struct KeyServer {
    keys: watch::Sender<Value>,
    /// How often it was asked.
    asked: Arc<AtomicUsize>,
    /// Whether it answers, and who waits until it does.
    held: Arc<(watch::Sender<bool>, Notify)>,
}

impl KeyServer {
    async fn start(world: &mut World) -> Self {
        let keys = watch::Sender::new(json!(world.minter.jwks()));
        let (asked, held) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(false));
        let held = Arc::new((held, Notify::new()));
        let (answer, count, wait) = (keys.subscribe(), asked.clone(), held.clone());
        let serve = get(move || {
            let (answer, count, wait) = (answer.clone(), count.clone(), wait.clone());
            async move {
                count.fetch_add(1, SeqCst);
                if *wait.0.borrow() {
                    wait.1.notify_one();
                    // Who holds it lets it go.
                    let _ = wait.0.subscribe().wait_for(|held| !held).await;
                }
                Json(answer.borrow().clone())
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.set("JWKS_URL", &format!("http://{}", listener.local_addr().unwrap()));
        let router = Router::new().route("/", serve);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { keys, asked, held }
    }

    /// Signs with a new key from now on, and publishes it beside the old one.
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

async fn world() -> (World, KeyServer, Gateway, User) {
    let mut world = World::new(Database::Sqlite).await;
    let keys = KeyServer::start(&mut world).await;
    world.set("GATEWAY_THREADS", "1");
    let gateway = world.gateway().await;
    let ada = world.user("ada").await;
    (world, keys, gateway, ada)
}

/// What joins a room that needs no row in the database, by a ticket of this minter.
fn join(world: &World, minter: &Minter, user: &User, room: RoomId) -> Value {
    let name = user.name.parse().unwrap();
    let ticket = minter.ticket(&world.claims(user), name, room, Role::Member, 0).unwrap();
    json!({ "roomId": room, "userId": user.id, "ticket": ticket })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_and_tokens_of_a_new_key_are_taken_in_their_order() {
    let (world, keys, gateway, ada) = world().await;
    let mut socket = ada.connect(&gateway).await;
    let (room, claims) = (RoomId::generate(), world.claims(&ada));
    let new = keys.rotate();
    let joined = socket.emit("join-room", join(&world, &new, &ada, room)).await;
    let sent = socket.emit("send-msg", json!({ "roomId": room, "msg": "right behind it" })).await;
    assert_eq!(socket.ack(joined).await["ok"], true);
    let sent = socket.ack(sent).await;
    assert_eq!(sent["ok"], true, "the event behind it waited: {sent}");
    // Another one, as a new access token.
    let newer = keys.rotate();
    let token = newer.access(claims.user, claims.session).unwrap();
    let refreshed = socket.emit("refresh", json!({ "token": token })).await;
    let sent = socket.emit("send-msg", json!({ "roomId": room, "msg": "and behind that" })).await;
    assert_eq!(socket.ack(refreshed).await["ok"], true);
    assert_eq!(socket.ack(sent).await["ok"], true);
    // And in the handshake.
    let newest = keys.rotate();
    let token = newest.access(claims.user, claims.session).unwrap();
    stories::Socket::connect(&gateway.base, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_looked_for_keeps_nobody_else_waiting() {
    let (world, keys, gateway, ada) = world().await;
    let (bob, room) = (world.user("bob").await, RoomId::generate());
    let mut waits = ada.connect(&gateway).await;
    let mut neighbour = bob.connect(&gateway).await;
    neighbour.ok("join-room", join(&world, &world.minter, &bob, room)).await;
    let new = keys.rotate();
    keys.held.0.send_replace(true);
    let joined = waits.emit("join-room", join(&world, &new, &ada, room)).await;
    // The keys are asked for, and the answer does not come.
    tokio::time::timeout(stories::SOON, keys.held.1.notified()).await.unwrap();
    for _ in 0..5 {
        neighbour.ok("send-msg", json!({ "roomId": room, "msg": "meanwhile" })).await;
    }
    keys.held.0.send_replace(false);
    assert_eq!(waits.ack(joined).await["ok"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_do_not_exist_are_refused_and_rarely_looked_for() {
    let (world, keys, gateway, ada) = world().await;
    let mut socket = ada.connect(&gateway).await;
    let claims = world.claims(&ada);
    let foreign = Minter::from_pem(&local::secrets::generate_key().unwrap().into()).unwrap();
    let (before, started) = (keys.asked.load(SeqCst), std::time::Instant::now());
    let mut others = Vec::new();
    for _ in 0..10 {
        others.push(ada.connect(&gateway).await);
    }
    for other in &mut others {
        other.emit("join-room", join(&world, &foreign, &ada, RoomId::generate())).await;
    }
    for other in &mut others {
        assert_eq!(other.ack(1).await["error"]["code"], "ticket-invalid");
    }
    let token = foreign.access(claims.user, claims.session).unwrap();
    socket.refused("refresh", json!({ "token": token }), "token-invalid").await;
    let asked = keys.asked.load(SeqCst) - before;
    let most = started.elapsed().as_secs_f64() / Duration::from_secs(2).as_secs_f64() + 2.0;
    assert!(asked as f64 <= most, "{asked} times, {most} at most");
    // The socket goes on.
    socket.ok("join-room", join(&world, &world.minter, &ada, RoomId::generate())).await;
}

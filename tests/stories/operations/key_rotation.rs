//! The signing key is replaced while two instances of the functions and a gateway are in use. No token is refused.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::get};
use local::secrets;
use protocol::token::{Minter, Verifier};
use reqwest::Method;
use serde_json::{Value, json};
use stories::{Answer, Api, Database, Gateway, Server, Socket, System, User};
use tokio::{net::TcpListener, sync::RwLock};
use tokio_util::sync::CancellationToken;

/// Long enough for the slowest pause between two refreshes on a busy machine.
const ACCESS_SECONDS: u64 = 8;
/// How long instances with different keys answer in turn.
const MIXED: Duration = Duration::from_secs(2);

/// Sends each request to the next instance, as a load balancer does.
#[derive(Clone, Default)]
struct Balancer(Arc<Instances>);

#[derive(Default)]
struct Instances {
    bases: RwLock<Vec<String>>,
    turn: AtomicUsize,
}

impl Balancer {
    async fn add(&self, base: &str) {
        self.0.bases.write().await.push(base.to_owned());
    }

    /// Sends no more requests there, and waits for those that are under way.
    async fn remove(&self, base: &str) {
        self.0.bases.write().await.retain(|known| known != base);
    }

    /// Makes a request to the next instance. The lock is held until its answer.
    async fn request(&self, user: &User, method: Method, path: &str, body: Option<Value>) -> Value {
        let bases = self.0.bases.read().await;
        let base = &bases[self.0.turn.fetch_add(1, Relaxed) % bases.len()];
        let request = user.at(base).request(method, path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        Answer::of(request).await.ok()
    }

    /// Listens on an address from which gateways fetch the keys of the next instance.
    async fn serve_keys(&self) -> String {
        async fn keys(State(balancer): State<Balancer>) -> Json<Value> {
            let bases = balancer.0.bases.read().await;
            let base = &bases[balancer.0.turn.fetch_add(1, Relaxed) % bases.len()];
            Json(Answer::of(Api::new(base).request(Method::GET, KEYS)).await.ok())
        }
        const KEYS: &str = "/.well-known/jwks.json";
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{KEYS}", listener.local_addr().unwrap());
        let router = Router::new().route(KEYS, get(keys)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    /// Refreshes the user's tokens.
    async fn refresh(&self, user: &mut User) {
        let body = json!({ "refreshToken": user.refresh });
        let tokens = self.request(user, Method::POST, "/login/refresh", Some(body)).await;
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        (user.access, user.refresh) = (text("accessToken"), text("refreshToken"));
    }
}

/// Requests with the current access token, which is refreshed all the time. Returns the ids of the keys of all tokens.
async fn use_http(balancer: Balancer, mut user: User, stop: CancellationToken) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    while !stop.is_cancelled() {
        for _ in 0..6 {
            balancer.request(&user, Method::GET, "/user", None).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        balancer.refresh(&mut user).await;
        keys.extend(jsonwebtoken::decode_header(&user.access).unwrap().kid);
    }
    keys
}

/// Connects with new tokens, joins with new tickets, sends and refreshes. Returns the number of messages.
async fn use_sockets(
    balancer: Balancer,
    gateway: String,
    mut user: User,
    stop: CancellationToken,
) -> usize {
    let mut sent = 0;
    let mut lasting = Socket::connect(&gateway, &user.access).await;
    while !stop.is_cancelled() {
        let mut socket = Socket::connect(&gateway, &user.access).await;
        for socket in [&mut lasting, &mut socket] {
            let entered = balancer.request(&user, Method::GET, "/room/lobby", None).await;
            let room = &entered["room"]["id"];
            let join = json!({ "roomId": room, "userId": user.id, "ticket": entered["ticket"] });
            socket.ok("join-room", join).await;
            socket.ok("send-msg", json!({ "roomId": room, "msg": "during the rotation" })).await;
            socket.ok("leave-room", json!({ "roomId": room })).await;
            sent += 1;
        }
        balancer.refresh(&mut user).await;
        lasting.ok("refresh", json!({ "token": user.access })).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sent
}

/// Two instances of the functions behind a balancer, and a gateway that fetches their keys through it.
struct Deployment {
    system: System,
    balancer: Balancer,
    functions: Vec<Server>,
    gateway: Gateway,
}

impl Deployment {
    async fn start(signing_key: &str) -> Self {
        let mut system = System::new(Database::Postgres).await;
        let balancer = Balancer::default();
        system.set_variable("JWKS_URL", &balancer.serve_keys().await);
        system.set_variable("ACCESS_TOKEN_SECONDS", &ACCESS_SECONDS.to_string());
        system.set_variable("DRAIN_SECONDS", "0");
        // On a fast machine the sockets exceed it.
        system.set_variable("LIMIT_EVENT_RATE", "0");
        system.set_variable("SIGNING_KEY", signing_key);
        let mut functions = Vec::new();
        for _ in 0..2 {
            let server = system.start_server("functions", |_| {}).await;
            balancer.add(&server.base).await;
            functions.push(server);
        }
        let gateway = system.start_gateway().await;
        Self { system, balancer, functions, gateway }
    }

    /// Replaces one instance after the other by one with these keys.
    async fn roll(&mut self, signing_key: &str, verification_keys: &str) {
        self.system.set_variable("SIGNING_KEY", signing_key);
        self.system.set_variable("VERIFICATION_KEYS", verification_keys);
        for server in &mut self.functions {
            self.balancer.remove(&server.base).await;
            server.stop().await;
            *server = self.system.start_server("functions", |_| {}).await;
            self.balancer.add(&server.base).await;
            tokio::time::sleep(MIXED).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_change_of_the_signing_key_refuses_no_token() {
    let [old, new] = [(); 2].map(|()| secrets::generate_key().unwrap());
    let [old_public, new_public] = [&old, &new].map(|key| secrets::public_key(key).unwrap());
    let mut deployment = Deployment::start(&old).await;
    let api = Api::new(&deployment.functions[0].base);
    let (ada, bob) = (api.user("ada").await, api.user("bob").await);
    ada.create_room("lobby").await;
    let minter = Minter::from_pem(&old.clone().into()).unwrap();
    let claims = Verifier::new(minter.jwks()).access(&ada.access).unwrap();
    let stop = CancellationToken::new();
    let balancer = deployment.balancer.clone();
    let http = tokio::spawn(use_http(balancer.clone(), ada.clone(), stop.clone()));
    let base = deployment.gateway.base.clone();
    let sockets = tokio::spawn(use_sockets(balancer, base, bob, stop.clone()));

    // The next key is published before it signs, and the previous one until its last token has expired.
    deployment.roll(&old, &new_public).await;
    deployment.roll(&new, &old_public).await;
    tokio::time::sleep(Duration::from_secs(ACCESS_SECONDS)).await;
    deployment.roll(&new, "").await;

    stop.cancel();
    let (keys, sent) = (http.await.unwrap(), sockets.await.unwrap());
    assert_eq!(keys.len(), 2, "tokens of both keys were used");
    assert!(sent > 50, "{sent} messages");
    // Tokens of the old key are refused from now on, whoever signs them.
    let mut forger = ada.at(&deployment.functions[0].base);
    forger.access = minter.access(claims.user, claims.session).unwrap();
    forger.get("/user").await.problem(401, "token-invalid");
}

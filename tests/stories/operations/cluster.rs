//! Three NATS servers with replicated streams: one is killed under load, and rebuilt from an empty disk.

use std::time::Instant;

use async_nats::jetstream;
use serde_json::json;
use stories::{
    Api, DEADLINE, Database, Gateway, NatsCluster, POLL_INTERVAL, Socket, System, User, eventually,
};
use tokio::task::JoinHandle;

use super::traffic::{Traffic, history, sent};

const STREAM: &str = "CHAT_0";
const LAST: &str = "the last message";

/// The head at the join, and the chain of `(prev, seq)` that is received after it.
type Receiving = (u64, JoinHandle<Vec<(u64, u64)>>);

async fn admin(system: &System) -> jetstream::Context {
    jetstream::new(system.nats_as("provision").await)
}

/// The leader of the stream, if all of its replicas have all events.
async fn leader_of_complete_stream(admin: &jetstream::Context) -> Option<String> {
    let stream = admin.get_stream(STREAM).await.ok()?;
    let cluster = stream.cached_info().cluster.as_ref()?;
    let is_complete = cluster.replicas.len() == 2
        && cluster.replicas.iter().all(|replica| replica.current && !replica.offline);
    cluster.leader.clone().filter(|leader| is_complete && !leader.is_empty())
}

/// Waits for it. Catching up takes longer than the usual deadline on a busy machine.
async fn leader(admin: &jetstream::Context) -> String {
    let waited = async {
        loop {
            if let Some(leader) = leader_of_complete_stream(admin).await {
                return leader;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(3 * DEADLINE, waited).await.unwrap()
}

/// Receives all messages until the last one; returns the chain of `(prev, seq)`.
async fn receive_all(mut socket: Socket) -> Vec<(u64, u64)> {
    let mut chain = Vec::new();
    loop {
        let (name, event) = socket.expect_one_of(&["receive-msg", "member-joined", "lag"]).await;
        assert_ne!(name, "lag");
        chain.push((event["prev"].as_u64().unwrap(), event["seq"].as_u64().unwrap()));
        if event["msg"] == LAST {
            return chain;
        }
    }
}

async fn join(user: &User, gateway: &Gateway) -> (Socket, u64) {
    let mut socket = user.connect(gateway).await;
    let joined = socket.ok("join-room", user.join_data("lobby", None).await).await;
    (socket, joined["head"].as_u64().unwrap())
}

/// Provisions a cluster with three replicas and sets the variables for its clients.
async fn use_cluster(system: &mut System, cluster: &NatsCluster) {
    for (name, value) in [
        ("NATS_URL", cluster.urls().as_str()),
        ("NATS_REPLICAS", "3"),
        ("LIMIT_EVENT_RATE", "0"),
        ("LIMIT_USER_EVENT_RATE", "0"),
        ("LIMIT_ROOM_EVENT_RATE", "0"),
    ] {
        system.set_variable(name, value);
    }
    eventually("a leader of the cluster", || async {
        system.try_provision(provision::Recovery::default()).await.ok()
    })
    .await;
}

/// Kills a server and waits until messages are acknowledged again.
async fn kill_under_load(cluster: &mut NatsCluster, name: &str, traffic: &Traffic) {
    let before = traffic.acknowledged().len();
    let killed = Instant::now();
    cluster.kill(name).await;
    traffic.makes_progress(1).await;
    println!(
        "{name}, the leader, killed after {before} messages; the next one {:?} later",
        killed.elapsed()
    );
    traffic.makes_progress(200).await;
}

/// Asserts that every acknowledged message is stored once, and received in order by all.
async fn assert_nothing_lost(ada: &User, traffic: &Traffic, receiving: Vec<Receiving>) {
    let mut stored = sent(&history(ada).await);
    assert_eq!(stored.pop().unwrap().text, LAST);
    assert_eq!(stored, traffic.acknowledged(), "each message is stored once, at its seq");
    for (head, receiving) in receiving {
        let mut prev = head;
        for (before, seq) in receiving.await.unwrap() {
            assert_eq!(before, prev);
            prev = seq;
        }
        assert_eq!(json!(prev), history(ada).await.last().unwrap()["seq"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_costs_a_pause_and_no_message() {
    let mut system = System::new(Database::Postgres).await;
    let mut cluster = NatsCluster::start(system.variables()).await;
    use_cluster(&mut system, &cluster).await;
    let admin = admin(&system).await;
    let first = leader(&admin).await;
    system.start_archive();
    let api = Api::new(&system.start_functions().await);
    let gateways = [system.start_gateway().await, system.start_gateway().await];
    let ada = api.user("ada").await;
    ada.create_room("lobby").await;
    let mut receiving = Vec::new();
    for gateway in &gateways {
        let (socket, head) = join(&ada, gateway).await;
        receiving.push((head, tokio::spawn(receive_all(socket))));
    }
    let traffic = Traffic::default();
    for (name, gateway) in ["bob", "cyd"].into_iter().zip(&gateways) {
        let user = api.user(name).await;
        user.enter("lobby").await;
        traffic.send_by_http(user.clone());
        traffic.send_by_socket(user, gateway.base.clone());
    }
    traffic.makes_progress(200).await;

    kill_under_load(&mut cluster, &first, &traffic).await;
    let started = Instant::now();
    cluster.rebuild(&first).await;
    let second = leader(&admin).await;
    println!("{first} complete {:?} after its start with an empty disk", started.elapsed());
    // The rebuilt server is needed for a majority now.
    kill_under_load(&mut cluster, &second, &traffic).await;
    let started = Instant::now();
    cluster.start_again(&second).await;
    leader(&admin).await;
    println!("{second} complete {:?} after its start with its disk", started.elapsed());
    traffic.stop().await;
    ada.post_message("lobby", LAST).await;

    assert_nothing_lost(&ada, &traffic, receiving).await;
    let messages = i64::try_from(traffic.acknowledged().len()).unwrap() + 1;
    eventually("all to be archived", || async {
        (system.count_messages().await == messages).then_some(())
    })
    .await;
}

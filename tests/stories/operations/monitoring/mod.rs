//! The table of metrics (`service::metric`) against the code, and infra/monitoring and infra/k8s against a real scrape.

mod names;
mod scrape;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde_json::json;
use service::metric::{GROUPS, Kind, Metric};
use stories::{Database, Server, Socket, System, eventually, free_address, signal};

/// The metric that Prometheus itself adds for each target.
const UP: &str = "up";

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join("infra").join(path)).unwrap()
}

fn table() -> BTreeMap<&'static str, &'static Metric> {
    GROUPS.iter().flat_map(|group| group.metrics).map(|metric| (metric.name, metric)).collect()
}

/// The metrics that the rules, the dashboard and the autoscaler use.
fn used() -> BTreeSet<String> {
    let alerts = names::alerts(&read("monitoring/rules.yml"));
    let dashboard = serde_json::from_str(&read("monitoring/dashboard.json")).unwrap();
    let panels = names::dashboard_expressions(&dashboard);
    let folders = ["infra/helm", "infra/k8s"].map(|folder| root().join(folder));
    let scaling: Vec<_> = folders.iter().flat_map(|folder| names::of_autoscaling(folder)).collect();
    assert!(alerts.len() > 20 && panels.len() > 40, "{} and {}", alerts.len(), panels.len());
    assert!(scaling.len() >= 3, "two autoscalers and an adapter: {scaling:?}");
    let expressions = alerts.values().chain(&panels).chain(&scaling);
    let mut used: BTreeSet<_> = expressions.flat_map(|e| names::in_expression(e)).collect();
    assert!(used.remove(UP));
    used
}

#[test]
fn the_code_sets_the_metrics_of_the_table() {
    let in_table: BTreeMap<String, &str> = table()
        .into_iter()
        .map(|(name, metric)| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            (name.to_owned(), kind)
        })
        .collect();
    let sources = names::in_sources(&root());
    let sources: BTreeMap<String, &str> =
        sources.iter().map(|(name, kind)| (name.clone(), kind.as_str())).collect();
    assert_eq!(sources, in_table);
}

#[test]
fn every_alert_is_tested_and_in_the_runbook() {
    let alerts: BTreeSet<_> = names::alerts(&read("monitoring/rules.yml")).into_keys().collect();
    let runbook = names::first_column(names::section(&read("README.md"), "Alerts"));
    assert_eq!(alerts, runbook);
    let tests = read("monitoring/rules_test.yml");
    for alert in alerts {
        for name in [format!("{alert} fires"), format!("{alert} does not fire")] {
            let of_alert =
                tests.split("  - name: ").find(|test| test.starts_with(&format!("{name}\n")));
            let test = of_alert.unwrap_or_else(|| panic!("rules_test.yml has no test {name:?}"));
            assert!(test.contains(&format!("alertname=\"{alert}\"")), "{test}");
            assert_eq!(test.contains("exp_samples: []"), name.ends_with("not fire"), "{test}");
        }
    }
}

/// Processes whose metrics a story reads.
struct Scraped {
    system: System,
    _processes: Vec<tokio::process::Child>,
    _servers: Vec<Server>,
    _socket: Socket,
    addresses: Vec<String>,
}

/// Starts all processes, and makes every metric appear that alerts and panels use.
async fn busy_system() -> Scraped {
    let mut system = System::new(Database::Postgres).await;
    let mut addresses: Vec<_> = [(); 4].into_iter().map(|()| free_address()).collect();
    system.set_variable("METRICS_LISTEN", &addresses[0]);
    let archive = system.start_process("archive", &["--follow"]);
    let functions = system.start_server("functions", |command| {
        addresses[1] = free_address();
        command.env("METRICS_LISTEN", &addresses[1]);
    });
    let functions = functions.await;
    let gateway = system.start_server("gateway", |command| {
        addresses[2] = free_address();
        // One event is within the budget.
        command.envs([("LIMIT_USER_EVENT_RATE", "0.001"), ("LIMIT_USER_EVENT_BURST", "1")]);
        command.envs([("METRICS_LISTEN", addresses[2].as_str()), ("DRAIN_SECONDS", "20")]);
    });
    let gateway = gateway.await;

    let ada = system.user("ada").await.at(&functions.base);
    let room = ada.create_room("lobby").await;
    let file = json!({ "name": "a.txt", "size": 3, "type": "text/plain" });
    let file = ada.post("/room/lobby/file", file).await.ok();
    let unknown = format!("{}/socket.io/?EIO=4&transport=polling&sid=unknown", gateway.base);
    assert_eq!(system.http.get(unknown).send().await.unwrap().status(), 400);
    Socket::connect(&gateway.base, &ada.access).await.send("4nonsense").await;
    let mut socket = Socket::connect(&gateway.base, &ada.access).await;
    socket.ok("join-room", ada.join_data("lobby", None).await).await;
    let message = json!({ "roomId": room, "msg": "hi" });
    socket.ok("send-msg", message.clone()).await;
    socket.refused("send-msg", message, "user-rate-limited").await;
    // The open socket keeps the gateway draining.
    signal(gateway.id(), "-TERM");

    // Functions whose storage is away.
    system.set_variable("METRICS_LISTEN", &addresses[3]);
    system.set_variable("S3_ENDPOINT", "http://127.0.0.1:1");
    let listen = free_address();
    let broken = system.start_process("functions", &["--listen", &listen]);
    let complete = format!("/file/{}/complete", file["file"]["id"].as_str().unwrap());
    let without_storage = ada.at(&format!("http://{listen}"));
    eventually("the functions without a storage", || async {
        let request = without_storage.request(reqwest::Method::POST, &complete);
        let status = request.json(&json!({})).send().await.ok()?.status();
        (status == 503).then_some(())
    })
    .await;
    Scraped {
        system,
        _processes: vec![archive, broken],
        _servers: vec![functions, gateway],
        _socket: socket,
        addresses,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_in_use_are_in_a_real_scrape_and_every_series_is_described() {
    let scraped = busy_system().await;
    let (used, table) = (used(), table());
    let http = &scraped.system.http;
    let series = eventually("every metric to be in a scrape", || async {
        let mut series = Vec::new();
        for address in &scraped.addresses {
            let answer = http.get(format!("http://{address}/metrics")).send().await.ok()?;
            series.extend(scrape::series(&answer.text().await.ok()?));
        }
        let found: BTreeSet<&str> = series.iter().map(|series| series.name.as_str()).collect();
        let missing: Vec<_> = used.iter().filter(|name| !found.contains(name.as_str())).collect();
        eprintln!("not in the scrape: {missing:?}");
        missing.is_empty().then_some(series)
    })
    .await;
    for scrape::Series { name, kind, help, labels } in &series {
        let metric =
            table.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(help, metric.help, "{name}");
        assert_eq!(*kind, format!("{:?}", metric.kind).to_lowercase(), "{name}");
        let expected: BTreeSet<_> =
            metric.labels.iter().map(|label| label.name.to_owned()).collect();
        assert_eq!(*labels, expected, "{name}");
    }
}

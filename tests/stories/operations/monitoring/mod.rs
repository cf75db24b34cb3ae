//! infra/monitoring: alert rules and dashboard name metrics that the processes really have.

mod names;

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::json;
use stories::{Database, Socket, System, eventually, free_address, signal};

/// The metric that Prometheus itself adds for each target.
const UP: &str = "up";
/// Gauges that exist only after a client did not read for some time.
const RARE_GAUGES: [&str; 1] = ["gateway_sockets_behind"];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join("infra").join(path)).unwrap()
}

/// The metrics that the rules and the dashboard use.
fn used() -> BTreeSet<String> {
    let alerts = names::alerts(&read("monitoring/rules.yml"));
    let dashboard = serde_json::from_str(&read("monitoring/dashboard.json")).unwrap();
    let panels = names::dashboard_expressions(&dashboard);
    assert!(alerts.len() > 20 && panels.len() > 40, "{} and {}", alerts.len(), panels.len());
    let expressions = alerts.values().chain(&panels);
    let mut used: BTreeSet<_> = expressions.flat_map(|e| names::in_expression(e)).collect();
    assert!(used.remove(UP));
    used
}

#[test]
fn every_metric_is_documented_and_in_the_sources() {
    let documented = names::first_column(names::section(&read("README.md"), "What to watch"));
    let sources: BTreeSet<_> = names::in_sources(&root()).into_keys().collect();
    let unknown: Vec<_> = used().difference(&documented).cloned().collect();
    assert!(
        unknown.is_empty(),
        "infra/monitoring uses what infra/README.md does not list: {unknown:?}"
    );
    let unset: Vec<_> = documented.difference(&sources).collect();
    assert!(unset.is_empty(), "infra/README.md lists metrics that no code sets: {unset:?}");
    let missing: Vec<_> = sources.difference(&documented).collect();
    assert!(missing.is_empty(), "infra/README.md does not list {missing:?}");
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

/// Counters appear with their first event, so only gauges can be expected in a scrape.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_gauge_is_in_a_real_scrape() {
    let mut system = System::new(Database::Postgres).await;
    let mut addresses = [(); 3].map(|()| free_address());
    system.set_variable("METRICS_LISTEN", &addresses[0]);
    let _archive = system.start_process("archive", &["--follow"]);
    let functions = system.start_server("functions", |command| {
        addresses[1] = free_address();
        command.env("METRICS_LISTEN", &addresses[1]);
    });
    let functions = functions.await;
    let gateway = system.start_server("gateway", |command| {
        addresses[2] = free_address();
        command.envs([("METRICS_LISTEN", addresses[2].as_str()), ("DRAIN_SECONDS", "20")]);
    });
    let gateway = gateway.await;

    let ada = system.user("ada").await;
    let room = ada.create_room("lobby").await;
    ada.at(&functions.base).get("/room/lobby/message").await.ok();
    let mut socket = Socket::connect(&gateway.base, &ada.access).await;
    socket.ok("join-room", ada.join_data("lobby", None).await).await;
    socket.ok("send-msg", json!({ "roomId": room, "msg": "hi" })).await;
    // The open socket keeps the gateway draining.
    signal(gateway.id(), "-TERM");

    let kinds = names::in_sources(&root());
    let is_expected =
        |name: &String| kinds[name] == "gauge" && !RARE_GAUGES.contains(&name.as_str());
    let gauges: Vec<_> = used().into_iter().filter(is_expected).collect();
    assert!(gauges.len() > 10, "{gauges:?}");
    let http = &system.http;
    eventually("every gauge to be in a scrape", || async {
        let mut text = String::new();
        for address in &addresses {
            let answer = http.get(format!("http://{address}/metrics")).send().await.ok()?;
            text += &answer.text().await.ok()?;
        }
        let is_scraped = |name: &String| text.contains(&format!("# TYPE {name} gauge\n"));
        let missing: Vec<_> = gauges.iter().filter(|name| !is_scraped(name)).collect();
        eprintln!("not in the scrape: {missing:?}");
        missing.is_empty().then_some(())
    })
    .await;
    drop(socket);
}

//! Schemathesis tests the HTTP API against its OpenAPI document, with all its checks.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use stories::{System, stories};
use tokio::process::Command;

/// Enough for both databases at once on two busy cores.
const WITHIN: Duration = Duration::from_secs(400);

/// Every operation that must succeed at least once, as Schemathesis names it. It does not call the document
/// itself, and the web page exists only if it was built.
fn operations(api: &Value) -> Vec<String> {
    let paths = api["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
    });
    let is_page = |operation: &Value| {
        operation["tags"][0] == "pages" && operation["responses"].get("404").is_some()
    };
    all.filter(|(path, _, operation)| *path != "/openapi.json" && !is_page(operation))
        .map(|(path, method, _)| format!("{} {path}", method.to_uppercase()))
        .collect()
}

stories! {
    async fn the_api_matches_its_description(system: System) {
        let mut system = system;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        bob.enter("lobby").await;
        bob.post("/room", json!({ "name": "hidden", "private": true })).await.ok();
        bob.post("/room", json!({ "name": "vault", "password": "open sesame" })).await.ok();
        for msg in ["one", "둘"] {
            bob.post_message("lobby", msg).await;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let packages = root.join("../.tools/schemathesis");
        assert!(packages.exists(), "`make test` gets Schemathesis first");
        let scripts = root.join("python");
        // The scripts send many client addresses, as a proxy does. Thousands of wrong passwords from one address
        // would be throttled.
        system.set_variable("TRUSTED_PROXY_HOPS", "1");
        // Ada creates all rooms and changes their passwords often.
        system.set_variable("LIMIT_NEW_PASSWORDS", "0");
        let base = system.start_functions().await;
        let answered = system.folder().join("answered.json");
        let mut run = Command::new("python3");
        run.args(["-m", "schemathesis.cli", "--config-file"])
            .arg(scripts.join("schemathesis.toml"));
        run.args(["run", "--no-color"]).arg(format!("{base}/openapi.json"));
        run.env("BASE", &base).env("SCRIPTS", &scripts).env("ANSWERED", &answered);
        run.env("PYTHONPATH", std::env::join_paths([packages, scripts]).unwrap());
        // Files that it may write belong into the temporary folder, not into the source tree.
        run.current_dir(system.folder()).stdin(Stdio::null()).kill_on_drop(true);
        let done = tokio::time::timeout(WITHIN, run.output()).await.unwrap().unwrap();
        let Output { status, stdout, stderr } = done;
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{out}\n{err}");
        // An API that refuses everything would pass the checks: every operation must have succeeded once.
        let answered = std::fs::read(answered).unwrap();
        let answered: BTreeMap<String, u64> = serde_json::from_slice(&answered).unwrap();
        let mut never = operations(&ada.get("/openapi.json").await.ok());
        never.retain(|operation| !answered.contains_key(operation));
        assert_eq!(never, [""; 0], "never did what they were asked for\n{out}");
    }
}

//! The API is held against its description, by Schemathesis with all its checks.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::json;
use stories::{World, stories};
use tokio::process::Command;

/// Two databases at once on two busy cores.
const WITHIN: Duration = Duration::from_secs(400);

stories! {
    async fn the_api_is_as_it_is_described(world: World) {
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        ada.create_room("lobby").await;
        bob.enter("lobby").await;
        bob.post("/room", json!({ "name": "hidden", "private": true })).await.ok();
        for msg in ["one", "둘"] {
            let body = json!({ "id": uuid::Uuid::now_v7(), "msg": msg });
            bob.post("/room/lobby/message", body).await.ok();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let packages = root.join("../.tools/schemathesis");
        assert!(packages.exists(), "`make test` gets Schemathesis first");
        let scripts = root.join("python");
        let mut run = Command::new("python3");
        run.args(["-m", "schemathesis.cli", "--config-file"]).arg(scripts.join("schemathesis.toml"));
        run.args(["run", "--no-color"]).arg(format!("{}/openapi.json", world.base));
        run.env("BASE", &world.base).env("SCRIPTS", &scripts);
        run.env("PYTHONPATH", std::env::join_paths([packages, scripts]).unwrap());
        // It keeps nothing, but where it would is not to be the source.
        run.current_dir(world.folder()).stdin(Stdio::null()).kill_on_drop(true);
        let done = tokio::time::timeout(WITHIN, run.output()).await.unwrap().unwrap();
        let Output { status, stdout, stderr } = done;
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{out}\n{err}");
    }
}

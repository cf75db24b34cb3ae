//! infra/compose.yaml as its readers need it; it is not started here.

use std::{path::Path, process::Command};

#[test]
fn compose_builds_once_and_every_process_behind_caddy_sees_its_clients() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut check = Command::new("python3");
    check.arg(root.join("python/compose.py"));
    // PyYAML is a dependency of Schemathesis.
    let checked = check.env("PYTHONPATH", root.join("../.tools/schemathesis")).output().unwrap();
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{text}{}", String::from_utf8_lossy(&checked.stderr));
}

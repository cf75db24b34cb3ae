//! Checks of infra/compose.yaml without starting it.

use std::{path::Path, process::Command};

#[test]
fn the_compose_file_is_consistent() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut check = Command::new("python3");
    check.arg(root.join("python/compose.py"));
    // PyYAML is a dependency of Schemathesis.
    let checked = check.env("PYTHONPATH", root.join("../.tools/schemathesis")).output().unwrap();
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{text}{}", String::from_utf8_lossy(&checked.stderr));
}

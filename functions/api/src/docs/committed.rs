//! The API documents in `web/client/api`. The web client's types are generated from them, and it is built before Rust
//! compiles, so they are committed.

use std::{env, fs, path::Path};

use serde_json::Value;

/// Set by `make types`: the test then writes the documents instead of comparing them.
const UPDATE: &str = "UPDATE_API_DOCUMENTS";

#[test]
fn committed_api_documents_are_current() {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folder =
        above.map(|folder| folder.join("web/client/api")).find(|folder| folder.is_dir()).unwrap();
    let gateway = "https://chat.example".parse().unwrap();
    let produced = [
        ("openapi.json", super::openapi::document(crate::functions().get_openapi())),
        ("asyncapi.json", super::live_events(&gateway)),
    ];
    for (name, document) in produced {
        let path = folder.join(name);
        if env::var_os(UPDATE).is_some() {
            fs::write(&path, serde_json::to_string_pretty(&document).unwrap() + "\n").unwrap();
            continue;
        }
        let committed: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(
            committed == document,
            "{} differs from what the code produces: run `make types` and commit the result",
            path.display()
        );
    }
}

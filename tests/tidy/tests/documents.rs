//! What the documents name exists.

use tidy::{documents, workspace::Workspace};

#[test]
fn every_path_item_and_link_in_the_documents_exists() {
    let dangling = documents::dangling(&Workspace::own().unwrap()).unwrap();
    assert!(dangling.is_empty(), "named, but not there:\n  {}", dangling.join("\n  "));
}

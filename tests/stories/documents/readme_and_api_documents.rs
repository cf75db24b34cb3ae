//! The tables of the READMEs and the documents that the server publishes agree with the code.

use std::collections::BTreeSet;

use serde_json::Value;
use stories::{Database, System};

/// A README with the first header cells of its tables of HTTP functions and of the two kinds of events.
struct Readme {
    text: &'static str,
    http: &'static str,
    client: &'static str,
    server: &'static str,
}

const READMES: [Readme; 2] = [
    Readme {
        text: include_str!("../../../README.md"),
        http: "| call",
        client: "| client sends",
        server: "| server sends",
    },
    Readme {
        text: include_str!("../../../README.ko.md"),
        http: "| 호출",
        client: "| 클라이언트가 보냄",
        server: "| 서버가 보냄",
    },
];
/// Pages, which OpenAPI describes and the READMEs' tables of HTTP functions leave out.
const PAGES: [&str; 5] =
    ["get /", "get /docs/events", "get /login", "get /new-room", "get /signup"];

/// The top-level field names of a cell like `{roomId,after?,online:{count,users}}`, each with its `?`.
fn fields(cell: &str) -> BTreeSet<String> {
    let text = cell.split_once("`{").unwrap().1;
    let text = text.split_once("}`").unwrap().0;
    let (mut depth, mut names) = (0, vec![String::new()]);
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            _ if depth == 0 => names.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    names.into_iter().map(|name| name.trim_end_matches(':').to_owned()).collect()
}

/// The same for a schema of the AsyncAPI document.
fn described(document: &Value, payload: &Value) -> BTreeSet<String> {
    let own = vec![payload.get("oneOf").map_or(payload, |one| &one[0]).clone()];
    let parts = payload["allOf"].as_array().cloned().unwrap_or(own);
    let mut all = BTreeSet::new();
    for part in parts {
        let reference = part["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
        let part = reference.map_or(&part, |pointer| document.pointer(pointer).unwrap());
        let required: Vec<&str> =
            part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for name in part["properties"].as_object().unwrap().keys() {
            let mark = if required.contains(&name.as_str()) { "" } else { "?" };
            all.insert(format!("{name}{mark}"));
        }
    }
    all
}

/// The rows of the table whose header line begins with `head`: event name and second cell.
fn rows(readme: &str, head: &str) -> Vec<(String, String)> {
    let lines = readme.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|')).map(|line| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        (cells.next().unwrap().trim_matches('`').to_owned(), cells.collect::<Vec<_>>().join(" | "))
    });
    rows.collect()
}

#[test]
fn the_readme_tables_match_the_protocol() {
    let document = protocol::asyncapi::document("wss", "chat.example");
    for Readme { text, client, server, .. } in READMES {
        check_tables(&document, rows(text, client), rows(text, server));
    }
}

fn check_tables(document: &Value, client: Vec<(String, String)>, server: Vec<(String, String)>) {
    let messages = document["components"]["messages"].as_object().unwrap();
    let mut found = BTreeSet::new();
    for (event, cell) in client {
        let (data, answer) = cell.split_once(" → ").unwrap();
        for (key, cell) in
            [(format!("client.{event}"), data), (format!("client.{event}.ack"), answer)]
        {
            assert_eq!(fields(cell), described(document, &messages[&key]["payload"]), "{key}");
            found.insert(key);
        }
    }
    for (event, cell) in server {
        let key = format!("server.{event}");
        assert_eq!(fields(&cell), described(document, &messages[&key]["payload"]), "{key}");
        found.insert(key);
    }
    let all: BTreeSet<String> = messages.keys().cloned().collect();
    assert_eq!(found, all, "an event is missing in a README");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_publishes_its_documents() {
    let system = System::new(Database::Sqlite).await;
    let get = async |path: &str| {
        let answer = system.http.get(format!("{}{path}", system.base)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    };
    let live: Value = serde_json::from_str(&get("/asyncapi.json").await).unwrap();
    let gateway = system.base.strip_prefix("http://").unwrap();
    assert_eq!(live, protocol::asyncapi::document("ws", gateway));
    let page = get("/docs/events").await;
    for name in protocol::event::ClientEvent::NAMES {
        assert!(page.contains(&format!("id='client.{name}'")), "{name}");
    }
    let http: Value = serde_json::from_str(&get("/openapi.json").await).unwrap();
    assert!(http["info"]["description"].as_str().unwrap().contains("/asyncapi.json"));
    for Readme { text, http: head, .. } in READMES {
        assert_eq!(listed_operations(text, head), described_operations(&http));
    }
}

/// The operations in a table of HTTP functions, as `get /room/{name}`. A code span is a method with a path,
/// a method alone for the path before it, or a path alone for `get`.
fn listed_operations(readme: &str, head: &str) -> BTreeSet<String> {
    let mut operations = BTreeSet::new();
    for (call, _) in rows(readme, head) {
        let mut path = "";
        for span in call.split('`').filter(|span| span.contains(|c: char| c.is_ascii_alphabetic()))
        {
            let method = match span.split_once(' ') {
                Some((method, of)) => {
                    path = of;
                    method
                }
                None if span.starts_with('/') => {
                    path = span;
                    "get"
                }
                None => span,
            };
            operations.insert(format!("{} {path}", method.to_lowercase()));
        }
    }
    operations
}

fn described_operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        let methods = methods.filter(|(_, operation)| operation["responses"].is_object());
        methods.map(move |(method, _)| format!("{method} {path}"))
    });
    operations.filter(|operation| !PAGES.contains(&operation.as_str())).collect()
}

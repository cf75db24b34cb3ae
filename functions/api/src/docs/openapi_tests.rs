//! The OpenAPI document is complete, and code generators give readable names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

fn served() -> Value {
    super::openapi::document(crate::functions().get_openapi())
}

/// All operations, each with its method and path.
fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_has_a_target() {
    let document = served();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.contains("#/components/schemas/Problem"), "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn codes<'a>(document: &'a Value, path: &str, method: &str, status: &str) -> Vec<&'a str> {
    let response = &document["paths"][path][method]["responses"][status];
    let schema = &response["content"]["application/problem+json"]["schema"];
    let codes = schema["properties"]["code"]["enum"].as_array();
    codes.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn errors_of_handlers_and_extractors_are_documented() {
    let document = served();
    let of = |path, method, status| codes(&document, path, method, status);
    let file = "/room/{name}/file";
    assert_eq!(of(file, "post", "413"), ["body-too-large", "file-too-large"]);
    assert_eq!(of(file, "post", "404"), ["no-such-room"]);
    assert_eq!(of(file, "post", "415"), ["unsupported-media-type"]);
    assert!(of(file, "post", "401").contains(&"token-expired"));
    assert!(of(file, "post", "503").contains(&"unavailable"));
    assert_eq!(of("/file/{id}/complete", "post", "422"), ["file-mismatch"]);
    assert_eq!(of("/healthz", "get", "503"), ["timeout"]);
    assert!(of("/healthz", "get", "401").is_empty());
    let needs = |path| of(path, "get", "422").contains(&"missing-field");
    assert!(of("/room", "get", "422").contains(&"unknown-field"));
    assert!(!needs("/room") && needs("/room/{name}/message/search"));
    assert!(of("/room", "get", "400").is_empty());
}

#[test]
fn every_response_has_a_description_and_headers() {
    let document = served();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let what = format!("{method} {path} {status}");
                assert_ne!(status, "default", "{what}");
                let has = |name: &str| response["headers"].get(name).is_some();
                assert!(has("x-request-id"), "{what}");
                assert_eq!(has("retry-after"), matches!(&**status, "429" | "503"), "{what}");
                assert_eq!(has("www-authenticate"), status == "401", "{what}");
                assert_eq!(has("location"), status.starts_with('3'), "{what}");
                assert!(!response["description"].as_str().unwrap().is_empty(), "{what}");
                assert!(response.get("x-refusals").is_none(), "{what}");
            }
        }
    }
}

#[test]
fn every_operation_has_its_own_id_declared_tags_and_security() {
    let document = served();
    let declared = document["tags"].as_array().unwrap().iter();
    let declared: BTreeSet<&str> = declared.map(|tag| tag["name"].as_str().unwrap()).collect();
    let (mut ids, mut tags, mut open) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (what, operation) in operations(&document) {
        let id = operation["operationId"].as_str().expect(&what);
        assert!(ids.insert(id), "{what}: {id}");
        assert!(id.contains('_'), "{what}: {id} is not a verb with its object");
        tags.extend(operation["tags"].as_array().unwrap().iter().filter_map(Value::as_str));
        assert!(operation["security"].is_array(), "{what}");
        if operation["security"] == json!([]) {
            open.insert(id);
        }
    }
    assert_eq!(tags, declared);
    assert!(ids.is_superset(&["delete_room", "delete_account"].into()), "{ids:?}");
    let callable = ["sign_up", "log_in", "refresh_tokens", "get_public_keys", "check_liveness"];
    assert!(open.is_superset(&callable.into()), "{open:?}");
    assert!(open.is_disjoint(&["log_out", "list_rooms", "get_account"].into()), "{open:?}");
    assert_eq!(document["servers"][0]["url"], "/");
}

#[test]
fn every_component_is_used_and_different() {
    let document = served();
    let (mut used, mut waiting) = (BTreeSet::new(), vec![&document["paths"]]);
    while let Some(part) = waiting.pop() {
        let mut found = BTreeSet::new();
        references(part, &mut found);
        for reference in found {
            if used.insert(reference.to_owned()) {
                waiting.push(document.pointer(reference.strip_prefix('#').unwrap()).unwrap());
            }
        }
    }
    let mut by_content = BTreeMap::new();
    for kind in ["schemas", "headers"] {
        for (name, component) in document["components"][kind].as_object().unwrap() {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "{name} is not used");
            if component["properties"].is_object() {
                let same = by_content.insert(without_descriptions(component).to_string(), name);
                assert_eq!(same, None, "{name} has the same properties");
            }
        }
    }
}

fn without_descriptions(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields =
                fields.iter().filter(|(key, value)| *key != "description" || !value.is_string());
            fields.map(|(key, value)| (key.clone(), without_descriptions(value))).collect()
        }
        Value::Array(values) => values.iter().map(without_descriptions).collect(),
        other => other.clone(),
    }
}

/// Code generators name a type after its schema. An object without a name gets one like `PageItemsItem`, and an
/// alternative without a name one like `ChangeType0`.
#[test]
fn every_object_has_a_name() {
    let document = served();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut unnamed = BTreeSet::new();
    for (name, schema) in schemas {
        // With `allOf`, code generators merge the parts into one type with one name.
        let all = schema["allOf"].as_array().into_iter().flatten();
        let objects: Vec<&Value> = all.chain([schema]).collect();
        for object in objects {
            for (property, schema) in object["properties"].as_object().into_iter().flatten() {
                unnamed_objects(&format!("{name}.{property}"), schema, &mut unnamed);
            }
        }
        for keyword in ["anyOf", "oneOf"] {
            assert!(schema.get(keyword).is_none(), "{name} is one of several types");
        }
    }
    for (what, operation) in operations(&document) {
        let request = &operation["requestBody"]["content"]["application/json"]["schema"];
        unnamed_objects(&what, request, &mut unnamed);
        for (status, response) in operation["responses"].as_object().unwrap() {
            let schema = &response["content"]["application/json"]["schema"];
            unnamed_objects(&format!("{what} {status}"), schema, &mut unnamed);
        }
    }
    assert_eq!(unnamed, BTreeSet::new());
    let of = |name: &str| schemas[name]["properties"]["items"]["items"]["$ref"].as_str().unwrap();
    let pages = ["MessagePage", "RoomPage", "MemberPage", "SessionPage"].map(of);
    let names = ["MessageView", "ListedRoom", "Member", "Session"];
    assert_eq!(pages.to_vec(), names.map(|name| format!("#/components/schemas/{name}")));
}

/// Finds objects with properties that are written in place.
fn unnamed_objects(place: &str, schema: &Value, found: &mut BTreeSet<String>) {
    if schema["properties"].is_object() {
        found.insert(place.to_owned());
    }
    if schema["items"].is_object() {
        unnamed_objects(&format!("{place}[]"), &schema["items"], found);
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for part in schema[keyword].as_array().into_iter().flatten() {
            unnamed_objects(place, part, found);
        }
    }
}

#[test]
fn bodies_allow_no_additional_properties() {
    let document = served();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let Some(reference) = body["$ref"].as_str() else { continue };
            let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            assert_eq!(schema["additionalProperties"], false, "{method} {path}");
        }
    }
}

//! Constraints that utoipa's derive cannot express, mostly between the fields of a body. Each must match the check in
//! the handler exactly: Schemathesis tests both against each other.

use protocol::MessageText;
use serde_json::{Value, json};

/// Adds the constraints to an OpenAPI document.
pub fn add(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    // A message without a file has a visible text.
    let visible = json!({ "properties": { "msg": { "pattern": MessageText::SEEN_PATTERN } } });
    let text = json!({ "if": has("fileId"), "else": visible });
    add_condition(&mut schemas["NewMessage"], text);
    // A new password needs the current one.
    let confirmation = json!({ "if": has("password"), "then": has("currentPassword") });
    add_condition(&mut schemas["AccountChange"], confirmation);
    let one_of_both =
        json!({ "if": has("name"), "then": lacks("password"), "else": has("password") });
    add_condition(&mut schemas["NewMember"], one_of_both);
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, operation) in paths.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten()) {
        optional_body(operation);
        if operation.get("security").is_none() {
            operation["security"] = json!([]);
        }
        let responses = operation["responses"].as_object_mut().into_iter().flatten();
        responses.for_each(|(_, response)| required_headers(response));
    }
}

/// Adds `if`, `then` and `else` to a schema. Not `anyOf` or `oneOf`, for which code generators write a type per
/// alternative, with names like `NewMessageType0`. They ignore `if`.
fn add_condition(schema: &mut Value, condition: Value) {
    let keywords = condition.as_object().into_iter().flatten();
    keywords.for_each(|(keyword, value)| schema[keyword] = value.clone());
}

/// A schema of objects that have the field. `null` means that the field is left out.
fn has(field: &str) -> Value {
    json!({ "properties": { field: { "type": "string" } }, "required": [field] })
}

/// A schema of objects that do not have the field.
fn lacks(field: &str) -> Value {
    json!({ "properties": { field: { "type": "null" } } })
}

/// Removes `null` from the schema of an optional body: the body may be left out, but it may not be `null`.
fn optional_body(operation: &mut Value) {
    let Some(schema) = operation.pointer_mut("/requestBody/content/application~1json/schema")
    else {
        return;
    };
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    if let Some(body) = choices.into_iter().find(|choice| choice["$ref"].is_string()).cloned() {
        *schema = body;
    }
}

/// Marks a header as required unless its type is an `Option`, and removes `null` from its type.
fn required_headers(response: &mut Value) {
    let headers = response.get_mut("headers").and_then(Value::as_object_mut);
    for (_, header) in headers.into_iter().flatten() {
        let types = header["schema"]["type"].as_array().cloned();
        if let Some(given) = types.iter().flatten().find(|name| *name != "null") {
            header["schema"]["type"] = given.clone();
        }
        header["required"] = types.is_none().into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_are_added_to_existing_schemas() {
        let mut document = json!(crate::functions().get_openapi());
        let before = document.clone();
        add(&mut document);
        for name in ["NewMessage", "AccountChange", "NewMember"] {
            assert!(before["components"]["schemas"][name]["properties"].is_object(), "{name}");
        }
        let body = "/paths/~1login~1refresh/post/requestBody";
        assert!(document.pointer(body).unwrap().get("required").is_none());
        let schema = format!("{body}/content/application~1json/schema/$ref");
        assert_eq!(document.pointer(&schema).unwrap(), "#/components/schemas/Refresh");
        let header = |place: &str| document.pointer(&format!("/paths/{place}")).unwrap();
        assert_eq!(header("~1login/post/responses/200/headers/set-cookie")["required"], true);
        let history = header("~1room~1{name}~1message/get/responses/200/headers/x-history");
        assert_eq!(
            (&history["required"], &history["schema"]["type"]),
            (&json!(false), &json!("string"))
        );
    }
}

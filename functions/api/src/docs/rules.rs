//! Constraints between the fields of a body, which utoipa's derive cannot express. Each must match the check in the
//! handler exactly: Schemathesis tests both against each other.

use protocol::MessageText;
use serde_json::{Value, json};

/// Adds the constraints to an OpenAPI document.
pub fn add(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    schemas["NewMessage"]["anyOf"] = json!([
        { "properties": { "msg": { "pattern": MessageText::SEEN_PATTERN } } },
        { "properties": { "fileId": { "type": "string" } }, "required": ["fileId"] },
    ]);
    // A new password needs the current one. `null` means that the field is left out.
    schemas["Change"]["anyOf"] = json!([
        { "properties": { "password": { "type": "null" } } },
        { "properties": { "currentPassword": { "type": "string" } }, "required": ["currentPassword"] },
    ]);
    schemas["NewMember"]["oneOf"] = json!([one_of("name", "password"), one_of("password", "name")]);
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, operation) in paths.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten()) {
        optional_body(operation);
        let responses = operation["responses"].as_object_mut().into_iter().flatten();
        responses.for_each(|(_, response)| required_headers(response));
    }
}

/// A schema that requires one field and excludes the other.
fn one_of(given: &str, other: &str) -> Value {
    json!({
        "title": given,
        "properties": { given: { "type": "string" }, other: { "type": "null" } },
        "required": [given],
    })
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
        for name in ["NewMessage", "Change", "NewMember"] {
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

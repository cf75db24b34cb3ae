//! The AsyncAPI document as an HTML page.

use std::fmt::Write as _;

use serde_json::Value;

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content='width=device-width,initial-scale=1'><title>Live events</title>\
<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
padding:0 1rem}code{font-size:.9em}h2{margin-top:2.5rem}section{margin:1.5rem 0;overflow-x:auto}\
table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}\
th{font-weight:600}</style>";

pub fn page(document: &Value) -> String {
    let mut page = String::from(HEAD);
    let info = &document["info"];
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<h1>{}</h1><p>{}</p><p><a href=../asyncapi.json>asyncapi.json</a> · <a href=./>HTTP functions</a></p>",
        text(&info["title"]),
        text(&info["description"]),
    );
    for (heading, prefix) in [("Clients send", "client."), ("The server sends", "server.")] {
        let _ = write!(page, "<h2>{heading}</h2>");
        let messages = document["components"]["messages"].as_object().into_iter().flatten();
        for (key, message) in messages.filter(|(key, _)| key.starts_with(prefix)) {
            let what = if key.ends_with(".ack") { " → acknowledgement" } else { "" };
            let name = text(&message["name"]);
            let summary = text(&message["summary"]);
            let _ = write!(
                page,
                "<section><h3 id='{key}'><code>{name}</code>{what}</h3><p>{summary}</p>"
            );
            table(&mut page, document, &message["payload"]);
            page.push_str("</section>");
        }
    }
    page.push_str("<h2>Types</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = write!(
            page,
            "<section><h3 id='{name}'>{name}</h3><p>{} {}</p>",
            kind(schema),
            text(&schema["description"]),
        );
        if let Some(words) = schema["enum"].as_array() {
            let words = words.iter().map(|word| format!("<code>{}</code>", text(word)));
            let _ = write!(page, "<p>{}</p>", words.collect::<Vec<_>>().join(", "));
        }
        if schema["properties"].is_object() {
            table(&mut page, document, schema);
        }
        page.push_str("</section>");
    }
    page
}

fn table(page: &mut String, document: &Value, payload: &Value) {
    page.push_str("<table><tr><th>field<th>type<th>");
    for schema in schemas(payload).into_iter().map(|schema| resolve(document, schema)) {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let optional = if required.contains(&field.as_str()) { "" } else { "?" };
            let _ = write!(
                page,
                "<tr><td><code>{field}{optional}</code><td>{}<td>{}",
                kind(schema),
                text(&schema["description"]),
            );
        }
    }
    page.push_str("</table>");
}

/// The schemas of a payload. Of an acknowledgement, the schema of the success.
fn schemas(payload: &Value) -> Vec<&Value> {
    if let Some(all) = payload["allOf"].as_array() {
        return all.iter().collect();
    }
    vec![payload.get("oneOf").and_then(|one| one.get(0)).unwrap_or(payload)]
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

fn kind(schema: &Value) -> String {
    // A reference, which has a description only beside `allOf`.
    let reference = schema["$ref"].as_str().or(schema["allOf"][0]["$ref"].as_str());
    if let Some(reference) = reference {
        let name = escape(reference.rsplit('/').next().unwrap_or(reference));
        return format!("<a href='#{name}'>{name}</a>");
    }
    match (&schema["type"], &schema["const"]) {
        (Value::String(kind), _) if kind == "array" => {
            format!("array of {}", kind_of_items(schema))
        }
        (Value::String(kind), _) => escape(kind),
        (Value::Array(kinds), _) => {
            kinds.iter().filter_map(Value::as_str).map(escape).collect::<Vec<_>>().join(" or ")
        }
        (_, Value::Bool(value)) => value.to_string(),
        _ => match schema["oneOf"].as_array() {
            Some(one) => one.iter().map(kind).collect::<Vec<_>>().join(" or "),
            None => "any".to_owned(),
        },
    }
}

fn kind_of_items(schema: &Value) -> String {
    kind(&schema["items"])
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

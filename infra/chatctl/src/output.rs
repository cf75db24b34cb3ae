//! Prints results as a table or as JSON.

use std::io::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// How results are printed.
#[derive(Clone, Copy)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// Prints a list: a table with a line for each row.
    pub fn list(self, rows: &[impl Serialize]) -> anyhow::Result<()> {
        let rows = serde_json::to_value(rows)?;
        print(&if self.json { pretty(&rows)? } else { table(&rows) })
    }

    /// Prints one object: a line for each field, and a table for each list in it.
    pub fn one(self, object: &impl Serialize) -> anyhow::Result<()> {
        let object = serde_json::to_value(object)?;
        print(&if self.json { pretty(&object)? } else { fields(&object) })
    }

    /// Prints what was done.
    pub fn done(self, what: &str) -> anyhow::Result<()> {
        if self.json { self.one(&json!({ "done": what })) } else { print(&format!("{what}\n")) }
    }
}

fn pretty(value: &Value) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// A closed standard output, as of `chatctl users list | head`, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Users choose some of the texts. Without control characters they cannot change the terminal.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What a row is about comes first, ids come last.
fn in_order(object: &Map<String, Value>) -> Vec<String> {
    let rank = |name: &String| match name.as_str() {
        "name" | "room" => 0,
        "user" => 1,
        "id" => 3,
        _ => 2,
    };
    let mut names: Vec<String> = object.keys().cloned().collect();
    names.sort_by_key(rank);
    names
}

fn table(rows: &Value) -> String {
    let rows: Vec<&Map<String, Value>> =
        rows.as_array().into_iter().flatten().filter_map(Value::as_object).collect();
    let Some(first) = rows.first() else { return "none\n".to_owned() };
    let names = in_order(first);
    let mut lines = vec![names.clone()];
    lines.extend(rows.iter().map(|row| names.iter().map(|name| cell(&row[name])).collect()));
    let width = |column: usize| {
        lines.iter().map(|line: &Vec<String>| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn fields(object: &Value) -> String {
    let Some(object) = object.as_object() else { return String::new() };
    let width = object.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    let (lists, values): (Vec<_>, Vec<_>) =
        in_order(object).into_iter().partition(|name| object[name].is_array());
    let mut text = String::new();
    for name in values {
        text.push_str(&format!("{name:<width$}  {}\n", cell(&object[&name])));
    }
    for name in lists {
        text.push_str(&format!("\n{name}\n{}", table(&object[&name])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table_with_equal_columns() {
        let rows = json!([{ "name": "ada", "rooms": 12, "disabledAt": null }, { "name": "방", "rooms": 3,
            "disabledAt": "\u{1b}[31mred" }]);
        let lines: Vec<String> = table(&rows).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0].contains("name") && lines[1].contains('-') && !table(&rows).contains('\u{1b}')
        );
        assert_eq!(table(&json!([])), "none\n");
    }

    #[test]
    fn an_object_is_its_fields_and_then_its_lists() {
        let object = json!({ "id": 7, "private": true, "staff": [{ "name": "ada" }] });
        assert_eq!(fields(&object), "private  yes\nid       7\n\nstaff\nname\nada\n");
    }
}

//! Metric names in alert rules, in the dashboard, in the manifests of autoscaling and in the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Words of PromQL that are not metric names. Functions need no entry, because a parenthesis follows them.
const KEYWORDS: [&str; 12] =
    ["and", "avg", "bool", "by", "count", "max", "min", "offset", "or", "sum", "unless", "without"];
/// Keywords whose parentheses hold label names.
const GROUPINGS: [&str; 6] = ["by", "group_left", "group_right", "ignoring", "on", "without"];

/// The metrics that a PromQL expression reads, without the suffixes of histogram series.
pub fn in_expression(expression: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => rest[1..].find('"').unwrap() + 2,
            '{' => rest.find('}').unwrap() + 1,
            '[' => rest.find(']').unwrap() + 1,
            _ => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()).max(1),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        let follows = after.trim_start();
        if GROUPINGS.contains(&token) && follows.starts_with('(') {
            rest = &follows[follows.find(')').unwrap()..];
        } else if (first.is_ascii_alphabetic() || first == '_')
            && !follows.starts_with('(')
            && !KEYWORDS.contains(&token)
        {
            let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| token.strip_suffix(end));
            names.insert(base.unwrap_or(token).to_owned());
        }
    }
    names
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The alerts of a file of Prometheus rules, with their expressions. Each expression is a block (`expr: |-`).
pub fn alerts(rules: &str) -> BTreeMap<String, String> {
    let mut alerts = BTreeMap::new();
    for rule in rules.split("- alert: ").skip(1) {
        let (name, rest) = rule.split_once('\n').unwrap();
        let (_, block) = rest.split_once("expr: |-\n").unwrap();
        let lines = block.lines().take_while(|line| line.starts_with("          "));
        let expression: Vec<&str> = lines.collect();
        assert!(!expression.is_empty(), "{name} has no expression");
        alerts.insert(name.trim().to_owned(), expression.join("\n"));
    }
    alerts
}

/// The expressions of all panels of a Grafana dashboard.
pub fn dashboard_expressions(dashboard: &Value) -> Vec<String> {
    match dashboard {
        Value::Array(items) => items.iter().flat_map(dashboard_expressions).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value) {
                ("expr", Value::String(expression)) => vec![expression.clone()],
                _ => dashboard_expressions(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The expressions by which Kubernetes' autoscaler and the adapter select metrics, in all manifests below a folder.
pub fn of_autoscaling(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in files(folder, "yaml") {
        let manifest = std::fs::read_to_string(path).unwrap();
        for start in ["metric: { name: ", "seriesQuery: "] {
            let rest = manifest.split(start).skip(1);
            found.extend(
                rest.map(|rest| rest.lines().next().unwrap().trim_end_matches(" }").to_owned()),
            );
        }
    }
    found
}

/// The part of a document below a heading of the second level.
pub fn section<'a>(document: &'a str, title: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\n## {title}\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

/// The names in backticks of the first column of all tables, without labels.
pub fn first_column(section: &str) -> BTreeSet<String> {
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(|name| name.split('{').next().unwrap().to_owned()).collect()
}

/// The metrics that the code sets, with the macro that does: `counter`, `gauge` or `histogram`.
pub fn in_sources(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let folders = ["functions", "gateway", "infra", "service"].map(|name| root.join(name));
    for path in folders.iter().flat_map(|folder| files(folder, "rs")) {
        let source = std::fs::read_to_string(&path).unwrap();
        for call in source.split("metrics::").skip(1) {
            let Some((kind, rest)) = call.split_once("!(") else { continue };
            let name = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
            if let (true, Some((name, _))) = (kind.chars().all(is_word), name) {
                let other = found.insert(name.to_owned(), kind.to_owned());
                assert!(other.is_none_or(|other| other == kind), "{name} has two kinds");
            }
        }
    }
    found
}

/// All files below a folder with this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, plain): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let of_extension =
        plain.into_iter().filter(|path| path.extension().is_some_and(|e| e == extension));
    let below = folders.iter().flat_map(|folder| files(folder, extension));
    of_extension.chain(below).collect()
}

#[test]
fn metrics_are_found_in_expressions() {
    let expression = r#"histogram_quantile(0.99, sum by (job, le) (rate(a_seconds_bucket{x="b_total"}[5m])))
        > 0.5 and on (job) max by (job) (c) unless d_total offset 1h > 8 * 1024"#;
    let names = in_expression(expression);
    assert_eq!(names, ["a_seconds", "c", "d_total"].map(str::to_owned).into());
    assert_eq!(in_expression("sum(e) + f"), ["e", "f"].map(str::to_owned).into());
}

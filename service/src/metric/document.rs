//! docs/metrics.md, which is committed. A test fails while it is out of date.

use std::{fmt::Write as _, path::Path};

use super::{
    definition::{Kind, Metric},
    table::GROUPS,
};

/// Set to write the document instead of comparing it.
const UPDATE: &str = "UPDATE_METRICS_DOCUMENT";

const INTRODUCTION: &str = "\
# Metrics

Every process serves these at `GET /metrics` on `METRICS_LISTEN`, in Prometheus' text format. On AWS Lambda they are
written to the log instead ([infra/README.md](../infra/README.md#what-to-watch)). What can be decided by a threshold is
an [alert](../infra/README.md#alerts).

Units are in the names: seconds, bytes, otherwise numbers of things. A counter whose labels can have any value appears
with its first event, all others at the start. Made from the table in `service/src/metric/table/`; after a change run
`make metrics`.
";

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn row(out: &mut String, metric: &Metric) {
    let Metric { name, kind, help, labels, watch } = metric;
    let labels: Vec<&str> = labels.iter().map(|label| label.name).collect();
    let labels =
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let values: Vec<String> = metric
        .labels
        .iter()
        .filter(|label| !label.values.is_empty())
        .map(|label| format!(" `{}`: `{}`.", label.name, label.values.join("`, `")))
        .collect();
    let (help, watch) = (cell(&format!("{help}{}", values.concat())), cell(watch));
    let _ = writeln!(out, "| `{name}{labels}` | {kind} | {help} | {watch} |");
}

fn document() -> String {
    let mut out = INTRODUCTION.to_owned();
    for group in GROUPS {
        let _ =
            write!(out, "\n## {}\n\n| metric | type | what | look closer when |\n", group.title);
        out.push_str("|---|---|---|---|\n");
        group.metrics.iter().for_each(|metric| row(&mut out, metric));
    }
    out
}

#[test]
fn the_committed_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == document(), "docs/metrics.md is out of date: run `make metrics`");
}

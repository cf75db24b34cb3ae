//! Gives the recorder what the table has.

use super::{
    definition::{Kind, Metric, Part},
    process,
    table::GROUPS,
};

/// Describes and initializes the metrics of a process with these parts. Called after the recorder is installed.
pub fn register(parts: &[Part]) {
    process::start();
    for group in GROUPS {
        if group.parts.is_empty() || group.parts.iter().any(|part| parts.contains(part)) {
            for metric in group.metrics {
                describe(metric);
                initialize(metric);
            }
        }
    }
    let labels = [("version", crate::version::VERSION), ("commit", crate::version::COMMIT)];
    metrics::gauge!("chat_build_info", &labels).set(1.0);
}

fn describe(metric: &Metric) {
    let (name, unit, help) = (metric.name, metric.unit(), metric.help);
    match metric.kind {
        Kind::Counter => metrics::describe_counter!(name, unit, help),
        Kind::Gauge => metrics::describe_gauge!(name, unit, help),
        Kind::Histogram => metrics::describe_histogram!(name, unit, help),
    }
}

/// Registers the series that are known. Otherwise a counter would appear with its first event, and `increase()`
/// ignores a series' first sample.
fn initialize(metric: &Metric) {
    match (metric.kind, metric.labels) {
        // Set when they are collected, where the system has them.
        _ if metric.name.starts_with("process_") => {}
        (Kind::Counter, []) => metrics::counter!(metric.name).increment(0),
        (Kind::Gauge, []) => metrics::gauge!(metric.name).increment(0.0),
        (Kind::Histogram, []) => drop(metrics::histogram!(metric.name)),
        (Kind::Counter, [label]) => {
            for value in label.values {
                metrics::counter!(metric.name, label.name => *value).increment(0);
            }
        }
        (Kind::Gauge | Kind::Histogram | Kind::Counter, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{
        definition::{Kind, Metric},
        table::GROUPS,
    };

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut names = BTreeSet::new();
        for metric in GROUPS.iter().flat_map(|group| group.metrics) {
            let Metric { name, kind, help, labels, .. } = metric;
            assert!(names.insert(*name), "{name} is there twice");
            assert!(name.starts_with("chat_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
            assert!(*kind != Kind::Histogram || metric.unit() == metrics::Unit::Seconds, "{name}");
            assert!(
                labels.len() == 1 || labels.iter().all(|label| label.values.is_empty()),
                "{name}"
            );
        }
        assert!(names.len() > 60);
    }
}

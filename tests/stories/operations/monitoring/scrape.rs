//! Prometheus' text format.

use std::collections::{BTreeMap, BTreeSet};

/// A series of a scrape.
#[derive(Debug)]
pub struct Series {
    /// Without the suffixes of histogram series.
    pub name: String,
    pub kind: String,
    pub help: String,
    /// Names of its labels, without the `le` of a histogram.
    pub labels: BTreeSet<String>,
}

/// All series of a scrape. A series whose metric has no type or no help text has empty ones.
pub fn series(scrape: &str) -> Vec<Series> {
    let (mut kinds, mut helps) = (BTreeMap::new(), BTreeMap::new());
    for line in scrape.lines() {
        for (prefix, texts) in [("# TYPE ", &mut kinds), ("# HELP ", &mut helps)] {
            if let Some((name, text)) = line.strip_prefix(prefix).and_then(|l| l.split_once(' ')) {
                texts.insert(name, text);
            }
        }
    }
    let samples = scrape.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let one = |line: &str| {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (full, labels) = series.split_once('{').unwrap_or((series, ""));
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| full.strip_suffix(end));
        let is_histogram = |name: &&str| kinds.get(name) == Some(&"histogram");
        let name = base.filter(is_histogram).unwrap_or(full);
        // Every second part is a value.
        let names = labels.split('"').step_by(2);
        let names = names.map(|name| name.trim_matches([',', '=', '}']).to_owned());
        Series {
            name: name.to_owned(),
            kind: kinds.get(name).copied().unwrap_or_default().to_owned(),
            help: helps.get(name).copied().unwrap_or_default().to_owned(),
            labels: names.filter(|name| !name.is_empty() && name != "le").collect(),
        }
    };
    samples.map(one).collect()
}

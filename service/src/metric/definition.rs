//! What the table says of a metric.

/// A part of the system that has metrics. One process may have several: `local` has all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Functions,
    Gateway,
    Archive,
    Local,
}

impl Part {
    pub const ALL: [Self; 4] = [Self::Functions, Self::Gateway, Self::Archive, Self::Local];
}

/// Metrics that the same parts have.
#[derive(Debug)]
pub struct Group {
    pub title: &'static str,
    /// None for all processes.
    pub parts: &'static [Part],
    pub metrics: &'static [Metric],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric. Its unit is the end of its name, as in Prometheus' conventions.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// The text of `# HELP`.
    pub help: &'static str,
    pub labels: &'static [Label],
    /// When an operator should look closer.
    pub watch: &'static str,
}

/// A label, with its values if all are known.
#[derive(Debug)]
pub struct Label {
    pub name: &'static str,
    pub values: &'static [&'static str],
}

/// A label with any values.
pub(super) const fn label(name: &'static str) -> Label {
    Label { name, values: &[] }
}

const fn metric(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, help, labels: &[], watch: "" }
}

pub(super) const fn counter(name: &'static str, help: &'static str) -> Metric {
    metric(name, Kind::Counter, help)
}

pub(super) const fn gauge(name: &'static str, help: &'static str) -> Metric {
    metric(name, Kind::Gauge, help)
}

pub(super) const fn histogram(name: &'static str, help: &'static str) -> Metric {
    metric(name, Kind::Histogram, help)
}

impl Metric {
    pub(super) const fn labels(self, labels: &'static [Label]) -> Self {
        Self { labels, ..self }
    }

    pub(super) const fn watch(self, watch: &'static str) -> Self {
        Self { watch, ..self }
    }

    /// The unit, from the name.
    pub fn unit(&self) -> metrics::Unit {
        let name = self.name.trim_end_matches("_total");
        match name.rsplit('_').next() {
            Some("bytes") => metrics::Unit::Bytes,
            Some("seconds") => metrics::Unit::Seconds,
            _ => metrics::Unit::Count,
        }
    }
}

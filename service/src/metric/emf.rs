//! Metrics of AWS Lambda functions, which nothing can scrape: lines of the embedded metric format (EMF) on standard
//! output, of which CloudWatch makes metrics.
//!
//! The function's name is the only dimension, because CloudWatch charges for every combination of dimensions. Labels
//! are members of a line: CloudWatch Logs Insights finds and groups by them.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::Ordering::{AcqRel, Acquire},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::registry::{AtomicStorage, Registry};
use serde_json::{Map, Value, json};

use super::{
    definition::{Metric, Part},
    register::register,
    table::GROUPS,
};

const NAMESPACE: &str = "chat";
/// Maximum number of values of a metric in one line.
const VALUES: usize = 100;
/// Gauges change slowly, and each line costs. Counters and histograms are written after every invocation.
const GAUGES_EVERY: Duration = Duration::from_secs(60);

static INSTALLED: OnceLock<Emf> = OnceLock::new();

/// The recorder. Clones share the metrics.
#[derive(Clone)]
struct Emf {
    function: Arc<str>,
    registry: Arc<Registry<Key, AtomicStorage>>,
    gauges_at: Arc<Mutex<Option<Instant>>>,
}

/// Installs the recorder of the function with this name.
pub fn install(function: &str, parts: &[Part]) -> anyhow::Result<()> {
    let emf = Emf::new(function);
    metrics::set_global_recorder(emf.clone())?;
    INSTALLED.get_or_init(|| emf);
    register(parts);
    Ok(())
}

/// Writes what has changed. Called at the end of an invocation, because the process may be frozen after it.
pub fn flush() {
    let Some(emf) = INSTALLED.get() else { return };
    let mut out = std::io::stdout().lock();
    for line in emf.lines() {
        // The log may be closed; nobody could be told.
        let _ = writeln!(out, "{line}");
    }
}

/// The values of one line: those whose labels are equal.
type Lines = BTreeMap<Vec<(String, String)>, Vec<(String, Value)>>;

fn labels(key: &Key) -> Vec<(String, String)> {
    key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect()
}

fn unit(name: &str) -> &'static str {
    let mut metrics = GROUPS.iter().flat_map(|group| group.metrics);
    match metrics.find(|metric| metric.name == name).map(Metric::unit) {
        Some(Unit::Bytes) => "Bytes",
        Some(Unit::Seconds) => "Seconds",
        _ => "Count",
    }
}

impl Emf {
    fn new(function: &str) -> Self {
        let registry = Arc::new(Registry::new(AtomicStorage));
        Self { function: function.into(), registry, gauges_at: Arc::default() }
    }

    fn lines(&self) -> Vec<Value> {
        let mut lines = Lines::new();
        let mut add = |key: &Key, value| {
            lines.entry(labels(key)).or_default().push((key.name().to_owned(), value));
        };
        for (key, counter) in self.registry.get_counter_handles() {
            match counter.swap(0, AcqRel) {
                0 => {}
                count => add(&key, json!(count)),
            }
        }
        for (key, histogram) in self.registry.get_histogram_handles() {
            let mut samples = Vec::new();
            histogram.clear_with(|some| samples.extend_from_slice(some));
            samples.chunks(VALUES).for_each(|values| add(&key, json!(values)));
        }
        let mut gauges_at = self.gauges_at.lock().unwrap_or_else(PoisonError::into_inner);
        if gauges_at.is_none_or(|at| at.elapsed() >= GAUGES_EVERY) {
            *gauges_at = Some(Instant::now());
            for (key, gauge) in self.registry.get_gauge_handles() {
                add(&key, json!(f64::from_bits(gauge.load(Acquire))));
            }
        }
        lines.into_iter().flat_map(|(labels, values)| self.line(&labels, values)).collect()
    }

    /// The lines of these labels: one, unless a metric is there twice, because it has many values.
    fn line(&self, labels: &[(String, String)], values: Vec<(String, Value)>) -> Vec<Value> {
        let mut lines: Vec<Map<String, Value>> = Vec::new();
        for (name, value) in values {
            match lines.iter_mut().find(|line| !line.contains_key(&name)) {
                Some(line) => drop(line.insert(name, value)),
                None => lines.push(Map::from_iter([(name, value)])),
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for line in &mut lines {
            let metrics: Vec<_> =
                line.keys().map(|name| json!({ "Name": name, "Unit": unit(name) })).collect();
            let directive = json!({
                "Namespace": NAMESPACE, "Dimensions": [["FunctionName"]], "Metrics": metrics
            });
            line.extend(labels.iter().map(|(name, value)| (name.clone(), json!(value))));
            line.insert("FunctionName".to_owned(), json!(*self.function));
            let header =
                json!({ "Timestamp": now.as_millis() as u64, "CloudWatchMetrics": [directive] });
            line.insert("_aws".to_owned(), header);
        }
        lines.into_iter().map(Value::Object).collect()
    }
}

impl Recorder for Emf {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.registry.get_or_create_counter(key, |counter| counter.clone().into())
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.registry.get_or_create_gauge(key, |gauge| gauge.clone().into())
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.registry.get_or_create_histogram(key, |histogram| histogram.clone().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// See the specification of the embedded metric format in the user guide of CloudWatch.
    #[test]
    fn lines_have_what_changed_since_the_last_ones() {
        let emf = Emf::new("rooms");
        let lines = metrics::with_local_recorder(&emf, || {
            metrics::counter!("chat_archive_events_total").increment(0);
            metrics::counter!("chat_publish_refused_total", "code" => "x").increment(2);
            metrics::gauge!("chat_stream_bytes", "stream" => "S").set(7.0);
            metrics::histogram!("chat_gateway_store_seconds", "code" => "x").record(0.5);
            emf.lines()
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        let line = lines.iter().find(|line| line["code"] == "x").unwrap();
        assert_eq!(line["chat_publish_refused_total"], 2);
        assert_eq!(line["chat_gateway_store_seconds"], json!([0.5]));
        assert_eq!(line["FunctionName"], "rooms");
        assert!(line["_aws"]["Timestamp"].as_u64() > Some(1_700_000_000_000), "{line}");
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], json!([["FunctionName"]]));
        let units: BTreeMap<_, _> = directive["Metrics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|metric| (metric["Name"].as_str().unwrap(), metric["Unit"].as_str().unwrap()))
            .collect();
        let expected =
            [("chat_gateway_store_seconds", "Seconds"), ("chat_publish_refused_total", "Count")];
        assert_eq!(units, expected.into());
        // Neither counters nor gauges again.
        assert_eq!(emf.lines(), Vec::<Value>::new());
    }

    #[test]
    fn many_values_are_several_lines() {
        let emf = Emf::new("rooms");
        let lines = metrics::with_local_recorder(&emf, || {
            (0..250).for_each(|_| metrics::histogram!("chat_gateway_store_seconds").record(1.0));
            emf.lines()
        });
        let count = |line: &Value| line["chat_gateway_store_seconds"].as_array().unwrap().len();
        assert_eq!(lines.iter().map(count).collect::<Vec<_>>(), [100, 100, 50]);
    }
}

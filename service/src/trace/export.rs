//! Export of spans by OTLP (HTTP, protobuf), configured by the standard environment variables.
//!
//! Ended spans wait in a bounded queue (`OTEL_BSP_MAX_QUEUE_SIZE`, 2,048) for a thread that exports them; a full queue
//! drops them. So an exporter that fails or is slow never delays a request.

use std::{
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::SpanExporter as OtlpExporter;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use url::Url;

use super::span;
use crate::{env::Env, version};

/// Samplers of the specification that the SDK has. It replaces others by the default without an error.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// Interval of log lines about failed exports.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How long a Lambda invocation, or the end of a process, waits for the export.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// What the standard variables say. The SDK reads most of them itself; here they are checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The resource names the service already.
    is_named: bool,
}

impl Settings {
    /// None if no endpoint is set, or export is switched off.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let text = |env: &mut Env<'_>, name| env.optional::<String>(name).unwrap_or_default();
        let is_off = text(env, "OTEL_SDK_DISABLED").eq_ignore_ascii_case("true")
            || text(env, "OTEL_TRACES_EXPORTER") == "none";
        let endpoints = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        let endpoints = endpoints.map(|name| env.optional::<Url>(name));
        if is_off || endpoints.iter().all(Option::is_none) {
            return None;
        }
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            if !matches!(&*text(env, name), "" | "http/protobuf") {
                env.fault(format!("{name} must be http/protobuf"));
            }
        }
        let sampler = text(env, "OTEL_TRACES_SAMPLER");
        if !sampler.is_empty() && !SAMPLERS.contains(&&*sampler) {
            env.fault(format!("OTEL_TRACES_SAMPLER must be one of {}", SAMPLERS.join(", ")));
        }
        if sampler.ends_with("traceidratio") {
            env.within("OTEL_TRACES_SAMPLER_ARG", 0.0..=1.0, 1.0);
        }
        let is_named = !text(env, "OTEL_SERVICE_NAME").is_empty()
            || text(env, "OTEL_RESOURCE_ATTRIBUTES").contains("service.name=");
        Some(Self { is_named })
    }
}

/// Starts the export. `service` is the name of the process unless `OTEL_SERVICE_NAME` names it.
pub fn start(settings: &Settings, service: &str) -> anyhow::Result<()> {
    let exporter = OtlpExporter::builder().with_http().build();
    let exporter = exporter.context("OTEL_EXPORTER_OTLP_ENDPOINT")?;
    let mut resource = Resource::builder().with_attributes([
        KeyValue::new("service.version", version::VERSION),
        KeyValue::new("vcs.ref.head.revision", version::COMMIT),
    ]);
    if !settings.is_named {
        resource = resource.with_service_name(service.to_owned());
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Exporter::new(exporter))
        .with_resource(resource.build())
        .build();
    span::install(provider.tracer("chatting-room"));
    let _ = PROVIDER.set(provider);
    Ok(())
}

/// Exports what waits in the queue, within a time limit.
pub async fn flush() {
    let Some(provider) = PROVIDER.get() else { return };
    // It blocks its thread. After the time limit it goes on there.
    let flushing = tokio::task::spawn_blocking(|| provider.force_flush());
    let _ = tokio::time::timeout(FLUSH_WITHIN, flushing).await;
}

/// Exports what waits in the queue, and ends the export. Blocks its thread, within a time limit.
pub fn stop() {
    if let Some(provider) = PROVIDER.get() {
        // A failure was logged by the exporter.
        let _ = provider.shutdown_with_timeout(FLUSH_WITHIN);
    }
}

/// Counts exports, and logs failures at a limited rate.
struct Exporter<E> {
    inner: E,
    logged_at: Mutex<Option<Instant>>,
}

impl<E> Exporter<E> {
    fn new(inner: E) -> Self {
        Self { inner, logged_at: Mutex::default() }
    }

    fn note(&self, spans: usize, result: &OTelSdkResult) {
        let outcome = if result.is_ok() { "exported" } else { "failed" };
        metrics::counter!("chat_trace_spans_total", "outcome" => outcome).increment(spans as u64);
        let Err(error) = result else { return };
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *logged_at = Some(Instant::now());
            tracing::warn!(%error, spans, "spans were lost: they cannot be exported");
        }
    }
}

impl<E> fmt::Debug for Exporter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for Exporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.note(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<bool, String> {
        let lookup = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let settings = Env::read(lookup, |env| Some(Settings::from_env(env).is_some()));
        settings.map_err(|faults| faults.to_string())
    }

    #[test]
    fn an_endpoint_switches_the_export_on() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert_eq!(read(&[]), Ok(false));
        assert_eq!(read(&[endpoint]), Ok(true));
        assert_eq!(read(&[endpoint, ("OTEL_SDK_DISABLED", "true")]), Ok(false));
        assert_eq!(read(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), Ok(false));
        let sampler = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.1")];
        assert_eq!(read(&[endpoint, sampler[0], sampler[1]]), Ok(true));
        let faults = read(&[
            endpoint,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ]);
        let faults = faults.unwrap_err();
        for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_TRACES_SAMPLER_ARG"] {
            assert!(faults.contains(name), "{faults}");
        }
        assert!(read(&[endpoint, ("OTEL_TRACES_SAMPLER", "jaeger_remote")]).is_err());
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector")]).is_err());
    }
}

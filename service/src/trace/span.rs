//! Spans of sampled traces.

use std::{borrow::Cow, sync::OnceLock};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{
        FutureExt as _, Span as _, SpanBuilder, SpanContext, SpanKind, Status,
        TraceContextExt as _, TraceState, Tracer as _, WithContext,
    },
};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

use super::TraceParent;

/// None while no spans are exported.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// A span of a sampled trace. It ends when it is dropped. Unsampled traces have none, so that they cost nothing.
#[derive(Debug)]
pub struct Span(Box<SdkSpan>);

/// Installs the tracer. A second one is ignored.
pub(super) fn install(tracer: SdkTracer) {
    let _ = TRACER.set(tracer);
}

impl TraceParent {
    /// Begins the trace of a request, or continues the client's. The span is there if the trace is sampled. Without an
    /// exporter the client's context is passed on unchanged.
    pub fn begin(name: impl FnOnce() -> String, parent: Option<Self>) -> (Self, Option<Span>) {
        let Some(tracer) = TRACER.get() else {
            return (parent.unwrap_or_else(Self::root), None);
        };
        let span = build(tracer, name().into(), SpanKind::Server, parent);
        (span.parent(), span.if_sampled())
    }

    /// The context that a client sent with its connection. None while no spans are exported.
    pub fn of_connection(header: &str) -> Option<Self> {
        TRACER.get()?;
        header.parse().ok()
    }

    /// The context in a message's header, if it is sampled and spans are exported. Cheap, because it is called for
    /// every delivery.
    pub fn sampled(header: &str) -> Option<Self> {
        TRACER.get()?;
        // The flag is the lowest bit of the last digit.
        let digit = char::from(*header.as_bytes().last()?).to_digit(16)?;
        if digit % 2 == 0 { None } else { header.parse().ok() }
    }

    /// Makes [`Span::within`] begin spans of this trace while `future` runs.
    pub fn scope<F: Future>(self, future: F) -> WithContext<F> {
        let context = Context::new();
        let is_traced = self.is_sampled() && TRACER.get().is_some();
        future.with_context(match is_traced {
            true => context.with_remote_span_context(self.context()),
            false => context,
        })
    }

    fn of(context: &SpanContext) -> Self {
        Self::new(context.trace_id(), context.span_id(), context.trace_flags())
    }

    fn context(self) -> SpanContext {
        SpanContext::new(self.trace, self.span, self.flags, true, TraceState::NONE)
    }
}

fn build(
    tracer: &SdkTracer,
    name: Cow<'static, str>,
    kind: SpanKind,
    parent: Option<TraceParent>,
) -> Span {
    let context = match parent {
        Some(parent) => Context::new().with_remote_span_context(parent.context()),
        None => Context::new(),
    };
    let builder = SpanBuilder::from_name(name).with_kind(kind);
    Span(Box::new(tracer.build_with_context(builder, &context)))
}

impl Span {
    /// Begins the trace of a client's event, or continues the one of its connection. None if it is not sampled.
    pub fn of_event(name: &'static str, parent: Option<TraceParent>) -> Option<Self> {
        let tracer = TRACER.get()?;
        build(tracer, name.into(), SpanKind::Server, parent).if_sampled()
    }

    /// A message that is sent to NATS, in a sampled trace.
    pub fn producer(name: &'static str, parent: Option<TraceParent>) -> Option<Self> {
        Self::child(name, SpanKind::Producer, parent?)
    }

    /// A message that is processed, in a sampled trace.
    pub fn consumer(name: &'static str, parent: Option<TraceParent>) -> Option<Self> {
        Self::child(name, SpanKind::Consumer, parent?)
    }

    /// Work within the request that is being handled, such as a statement. None outside of a sampled request.
    pub fn within(name: &'static str) -> Option<Self> {
        TRACER.get()?;
        let parent = Context::map_current(|context| {
            context.has_active_span().then(|| TraceParent::of(context.span().span_context()))
        });
        Self::child(name, SpanKind::Client, parent?)
    }

    fn child(name: &'static str, kind: SpanKind, parent: TraceParent) -> Option<Self> {
        let tracer = TRACER.get().filter(|_| parent.is_sampled())?;
        build(tracer, name.into(), kind, Some(parent)).if_sampled()
    }

    fn if_sampled(self) -> Option<Self> {
        self.0.span_context().is_sampled().then_some(self)
    }

    /// The context for spans below this one.
    pub fn parent(&self) -> TraceParent {
        TraceParent::of(self.0.span_context())
    }

    /// Sets an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(name, value));
    }

    /// Marks it as failed.
    pub fn fail(&mut self, description: impl Into<Cow<'static, str>>) {
        self.0.set_status(Status::error(description));
    }
}

//! Spans of a batch: one for each event whose trace is sampled.

use async_nats::jetstream::Message;
use protocol::subject::TRACEPARENT;
use service::trace::{Span, TraceParent};

/// They end when this is dropped.
pub struct BatchTrace(Vec<Span>);

impl BatchTrace {
    pub fn start(messages: &[Message]) -> Self {
        let span = |message: &Message| {
            let header = message.headers.as_ref()?.get(TRACEPARENT)?;
            let mut span = Span::consumer("archive", TraceParent::sampled(header.as_str()))?;
            span.set("messaging.system", "nats");
            span.set("messaging.destination.name", message.subject.to_string());
            span.set("messaging.batch.message_count", messages.len() as i64);
            Some(span)
        };
        Self(messages.iter().filter_map(span).collect())
    }

    pub fn fail(&mut self) {
        self.0.iter_mut().for_each(|span| span.fail("not stored; it is delivered again"));
    }
}

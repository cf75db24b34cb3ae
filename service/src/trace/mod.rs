//! Traces: their context (W3C Trace Context), and spans, which are exported by OTLP if the environment says so.
//!
//! A trace begins with a client's request or event, goes on through a NATS header, and ends with the delivery in every
//! gateway and with the archive.

mod export;
mod parent;
mod span;
mod xray;

pub use self::{
    export::{Settings, flush, start, stop},
    parent::{ParseTraceError, TraceParent},
    span::Span,
    xray::parse_xray,
};

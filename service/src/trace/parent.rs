//! W3C Trace Context, version 00. Not the propagator of OpenTelemetry's SDK: it accepts ids that are too short or have
//! a sign, and allocates for every header. This one is read for every delivery of a sampled trace.

use std::{fmt, str::FromStr};

use opentelemetry::{SpanId, TraceFlags, TraceId};

/// The header `traceparent`: a trace and its parent span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) flags: TraceFlags,
}

/// A text that is not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct ParseTraceError;

impl TraceParent {
    pub(super) fn new(trace: TraceId, span: SpanId, flags: TraceFlags) -> Self {
        Self { trace, span, flags }
    }

    /// A new trace that is not sampled: its id connects log lines only.
    pub fn root() -> Self {
        let (trace, span): (u128, u64) = (rand::random(), rand::random());
        Self::new(trace.into(), span.into(), TraceFlags::NOT_SAMPLED)
    }

    pub fn is_sampled(self) -> bool {
        self.flags.is_sampled()
    }

    /// The trace's id, 32 hexadecimal digits, for logs.
    pub fn trace_id(self) -> String {
        self.trace.to_string()
    }
}

impl FromStr for TraceParent {
    type Err = ParseTraceError;

    fn from_str(text: &str) -> Result<Self, ParseTraceError> {
        let is_lower_hex =
            |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut fields = text.split('-');
        let parts = [(); 5].map(|()| fields.next());
        let [Some(version), Some(trace), Some(span), Some(flags), None] = parts else {
            return Err(ParseTraceError);
        };
        let parts = [version, trace, span, flags];
        let lengths = parts.map(str::len);
        if version == "ff" || lengths != [2, 32, 16, 2] || !parts.into_iter().all(is_lower_hex) {
            return Err(ParseTraceError);
        }
        let flags = u8::from_str_radix(flags, 16).map_err(|_| ParseTraceError)?;
        let parsed = Self {
            trace: TraceId::from_hex(trace).map_err(|_| ParseTraceError)?,
            span: SpanId::from_hex(span).map_err(|_| ParseTraceError)?,
            flags: TraceFlags::new(flags),
        };
        if parsed.trace == TraceId::INVALID || parsed.span == SpanId::INVALID {
            return Err(ParseTraceError);
        }
        Ok(parsed)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_traceparent_round_trips(trace in 1..u128::MAX, span in 1..u64::MAX, flags: u8) {
            let parent = TraceParent::new(trace.into(), span.into(), TraceFlags::new(flags));
            prop_assert_eq!(parent.to_string().parse(), Ok(parent));
        }

        /// <https://www.w3.org/TR/trace-context/#traceparent-header>
        #[test]
        fn only_a_traceparent_is_parsed(text in "\\PC{0,60}|[0-9a-g]{2}-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-fA]{2}") {
            let form = regex::Regex::new("^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$").unwrap();
            let none = ["ff-", "-00000000000000000000000000000000-", "-0000000000000000-"];
            let is_one = form.is_match(&text) && !text.starts_with(none[0])
                && !text.contains(none[1]) && !text.contains(none[2]);
            prop_assert_eq!(text.parse::<TraceParent>().is_ok(), is_one, "{}", text);
        }
    }

    #[test]
    fn invalid_texts_are_refused() {
        let parent: TraceParent =
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        assert_eq!(parent.to_string().parse(), Ok(parent));
        assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(parent.is_sampled());
        for bad in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(ParseTraceError), "{bad}");
        }
    }
}

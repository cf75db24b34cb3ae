//! W3C Trace Context, version 00. The context of an HTTP request is passed on through NATS to the gateways.

use std::{fmt, str::FromStr};

/// The header `traceparent`: a trace and its parent span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

/// A text that is not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct ParseTraceError;

impl TraceParent {
    /// A new trace.
    pub fn root() -> Self {
        Self { trace: rand::random(), span: rand::random(), flags: 1 }
    }

    /// The same trace with a new span as parent.
    pub fn child(self) -> Self {
        Self { span: rand::random(), ..self }
    }

    /// The trace's id, 32 hexadecimal digits, for logs.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl FromStr for TraceParent {
    type Err = ParseTraceError;

    fn from_str(text: &str) -> Result<Self, ParseTraceError> {
        let is_lower_hex =
            |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags] = parts[..] else { return Err(ParseTraceError) };
        let lengths = [version.len(), trace.len(), span.len(), flags.len()];
        if version == "ff" || lengths != [2, 32, 16, 2] || !parts.iter().all(|p| is_lower_hex(p)) {
            return Err(ParseTraceError);
        }
        let parsed = Self {
            trace: u128::from_str_radix(trace, 16).map_err(|_| ParseTraceError)?,
            span: u64::from_str_radix(span, 16).map_err(|_| ParseTraceError)?,
            flags: u8::from_str_radix(flags, 16).map_err(|_| ParseTraceError)?,
        };
        if parsed.trace == 0 || parsed.span == 0 {
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
            let parent = TraceParent { trace, span, flags };
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
    fn a_child_keeps_the_trace_and_invalid_texts_are_refused() {
        let parent: TraceParent =
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        assert_eq!(parent.to_string().parse(), Ok(parent));
        assert_eq!(parent.child().trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
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

//! W3C trace context: whose request this is, taken from `traceparent` or begun here.
//!
//! Source: W3C Trace Context, level 1. What a request causes carries the same trace id through log, topics and the
//! next services.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use uuid::Uuid;

use crate::telemetry::spans;

/// The trace of one request. A handler takes it as an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    trace_id: String,
    span_id: String,
    /// The caller's span; `None` where the trace begins here.
    #[cfg(feature = "otlp")]
    caller: Option<String>,
    sampled: bool,
}

impl Trace {
    /// Goes on with the caller's trace, as a span of our own, or begins one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all("traceparent").iter();
        let caller = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(parse),
            _ => None,
        };
        let (trace_id, sampled) = match caller {
            Some((trace_id, _, sampled)) => (trace_id.to_owned(), sampled),
            None => {
                let trace_id = Uuid::now_v7().simple().to_string();
                let sampled = spans::is_sampled(&trace_id);
                (trace_id, sampled)
            }
        };
        Self {
            trace_id,
            span_id: span_id(),
            #[cfg(feature = "otlp")]
            caller: caller.map(|(_, span_id, _)| span_id.to_owned()),
            sampled,
        }
    }

    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn span_id(&self) -> &str {
        &self.span_id
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn caller(&self) -> Option<&str> {
        self.caller.as_deref()
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// What goes on with the command.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// [`super::finish`] has put it there; a router without it begins one.
impl<S: Sync> FromRequestParts<S> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

/// The last eight bytes are random but for the variant bits, which keep them from being zero.
fn span_id() -> String {
    let mut simple = Uuid::now_v7().simple().to_string();
    simple.split_off(16)
}

/// The trace, the caller's span, and whether it is drawn.
pub(crate) fn parse(text: &str) -> Option<(&str, &str, bool)> {
    let mut parts = text.trim().split('-');
    let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, chars: usize| {
        text.len() == chars && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let is_id = |text: &str, chars| is_hex(text, chars) && text.bytes().any(|byte| byte != b'0');
    // A later version may have more parts; version 00 may not.
    let fits = is_hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && is_id(trace_id, 32)
        && is_id(parent_id, 16)
        && is_hex(flags, 2);
    let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    fits.then_some((trace_id, parent_id, sampled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Trace {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", text.parse().unwrap());
        Trace::of(&headers)
    }

    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_callers_trace_goes_on_as_a_span_of_our_own() {
        let trace = of(&format!("00-{TRACE_ID}-00f067aa0ba902b7-00"));
        assert_eq!(trace.trace_id(), TRACE_ID);
        let sent = trace.traceparent();
        assert!(sent.starts_with(&format!("00-{TRACE_ID}-")) && sent.ends_with("-00"), "{sent}");
        assert!(!sent.contains("00f067aa0ba902b7"));
        let (_, span_id) = sent.trim_end_matches("-00").rsplit_once('-').unwrap();
        assert_eq!(parse(&sent), Some((TRACE_ID, span_id, false)));
        assert_eq!(of(&format!("cc-{TRACE_ID}-00f067aa0ba902b7-01-more")).trace_id(), TRACE_ID);
    }

    #[test]
    fn what_is_not_a_trace_begins_a_new_one() {
        for bad in [
            "",
            "nonsense",
            &format!("ff-{TRACE_ID}-00f067aa0ba902b7-01"),
            &format!("00-{TRACE_ID}-00f067aa0ba902b7-01-more"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{TRACE_ID}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", TRACE_ID.to_uppercase()),
        ] {
            let trace = of(bad);
            assert_ne!(trace.trace_id(), TRACE_ID, "{bad}");
            assert!(parse(&trace.traceparent()).is_some(), "{bad}");
        }
    }
}

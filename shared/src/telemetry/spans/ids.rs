//! Ids of traces and spans, derived from those of messages: the same message makes the same span for ever.

use opentelemetry::trace::{SpanId, TraceId};
use uuid::Uuid;

use crate::{contract::ids::named, http::trace};

/// Of what a group does with a message.
pub(super) fn span_id(message: Uuid, group: &str) -> SpanId {
    last_half(named(&["span", &message.to_string(), group]))
}

/// Of what nobody is to find.
pub(super) fn new_span_id() -> SpanId {
    last_half(Uuid::now_v7())
}

pub(super) fn new_trace_id() -> TraceId {
    TraceId::from(Uuid::now_v7().as_u128())
}

/// The bits that say which form a UUID has keep it from being zero, which is no span.
fn last_half(id: Uuid) -> SpanId {
    let (_, half) = id.as_u64_pair();
    SpanId::from(half)
}

/// The trace that a message or request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) trace_id: TraceId,
    /// Of whoever said it; `None` where nobody did.
    pub(super) caller: Option<Caller>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) span_id: SpanId,
    pub(super) is_sampled: bool,
}

impl Origin {
    /// `id`, where there is no trace parent.
    pub(super) fn new(traceparent: Option<&str>, id: Uuid) -> Self {
        let said = traceparent.and_then(trace::parse).and_then(|(trace_id, span_id, is_sampled)| {
            let caller = Caller { span_id: SpanId::from_hex(span_id).ok()?, is_sampled };
            Some(Self { trace_id: TraceId::from_hex(trace_id).ok()?, caller: Some(caller) })
        });
        said.unwrap_or(Self { trace_id: TraceId::from(id.as_u128()), caller: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Uuid = Uuid::from_u128(0x0198_f3c2_5a10_7c31_9d44_0a4b_e1c2_5f02);

    #[test]
    fn a_span_id_never_changes_and_is_of_one_message_and_group() {
        let id = span_id(MESSAGE, "order-service");
        assert_eq!(id.to_string(), "843c828402859aa4");
        assert_ne!(id, span_id(MESSAGE, "payment-service"));
        assert_ne!(id, span_id(Uuid::nil(), "order-service"));
        assert_ne!(span_id(Uuid::nil(), ""), SpanId::INVALID);
    }

    #[test]
    fn a_trace_is_that_of_the_trace_parent_or_else_of_the_id() {
        let said = Origin::new(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"), MESSAGE);
        assert_eq!(said.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let caller = said.caller.unwrap();
        assert_eq!((caller.span_id.to_string(), caller.is_sampled), ("00f067aa0ba902b7".to_owned(), false));
        for none in [None, Some(""), Some("00-1-2-01")] {
            let own = Origin::new(none, MESSAGE);
            assert_eq!((own.trace_id.to_string(), own.caller), (MESSAGE.simple().to_string(), None));
        }
    }
}

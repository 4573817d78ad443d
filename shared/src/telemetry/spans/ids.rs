//! Ids of traces and spans, derived from those of messages: the same message makes the same span for ever.

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};
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

/// Whether a trace is drawn: what `OTEL_TRACES_SAMPLER` says, to each process the same.
pub(super) fn is_sampled(sampler: &dyn ShouldSample, Origin { trace_id, caller }: Origin) -> bool {
    let parent = caller.map(|Caller { span_id, is_sampled }| {
        let flags = TraceFlags::NOT_SAMPLED.with_sampled(is_sampled);
        let context = SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE);
        Context::new().with_remote_span_context(context)
    });
    // A ratio is compared with the upper bits of the low half. Those of a UUID are its variant, always 10, and then the count of
    // ids in one millisecond: only its last 32 bits are drawn anew for each.
    let random = TraceId::from(u128::from_be_bytes(trace_id.to_bytes()) << 32);
    let result = sampler.should_sample(parent.as_ref(), random, "", &SpanKind::Internal, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

pub(super) fn context(trace_id: TraceId, span_id: SpanId) -> SpanContext {
    SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::Sampler;

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
    #[test]
    fn a_ratio_of_our_traces_is_drawn() {
        for ratio in [0.1, 0.5, 0.8] {
            let sampler = Sampler::TraceIdRatioBased(ratio);
            let is_drawn = |_: &i32| is_sampled(&sampler, Origin { trace_id: new_trace_id(), caller: None });
            let drawn = (0..10_000).filter(is_drawn).count() as f64;
            // Ten times what chance makes of it.
            assert!((drawn - ratio * 10_000.0).abs() < 500.0, "{drawn} at {ratio}");
        }
    }
}

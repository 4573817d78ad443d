//! From what was done with messages to spans, named and attributed by OpenTelemetry's conventions for messaging.
//! What has no convention begins with `fulfil.`. All else that goes in and out of the process is in `edge.rs`.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceId},
};
use opentelemetry_sdk::trace::{ShouldSample, SpanData, SpanEvents, SpanLinks};

use super::{
    ids::{context, is_sampled, new_span_id, new_trace_id, span_id},
    message::Message,
    recent::Recent,
    work::{Batch, Fate, Redriven, Work},
};

pub(super) struct Pen {
    pub(super) sampler: Box<dyn ShouldSample>,
    scope: InstrumentationScope,
    recent: Recent,
}

/// Where a span stands.
pub(super) struct Stand {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) links: Vec<SpanContext>,
}

impl Pen {
    pub(super) fn new(sampler: Box<dyn ShouldSample>, scope: InstrumentationScope) -> Self {
        Self { sampler, scope, recent: Recent::default() }
    }

    pub(super) fn draw(&mut self, batch: &Batch, work: Vec<Work>, spans: &mut Vec<SpanData>) {
        let messages = work.len();
        for work in work {
            let drawn = match work {
                Work::Processed { message, fate, since } => {
                    self.processed(batch, &message.read(), &fate, since, messages)
                }
                Work::Redriven(redriven) => self.redriven(batch, *redriven),
                Work::Asked { id, traceparent, key, fate } => {
                    self.asked(batch, id, traceparent.as_deref(), &key, &fate)
                }
                Work::Served(served) => self.served(batch, served),
                Work::Called(called) => self.called(batch, called),
            };
            spans.extend(drawn);
        }
    }

    fn processed(
        &mut self,
        batch: &Batch,
        message: &Message,
        fate: &Fate,
        since: Option<SystemTime>,
        messages: usize,
    ) -> Option<SpanData> {
        let is_known = self.recent.knows(message.id);
        let is_again = match fate {
            Fate::Done { is_cause, .. } => is_known && !is_cause,
            Fate::Duplicate => true,
            Fate::Refused { .. } | Fate::Dead { .. } => is_known,
        };
        if !is_sampled(&*self.sampler, message.origin) {
            return None;
        }
        let first = span_id(message.id, batch.group);
        let stand = if is_again {
            let links = vec![context(message.origin.trace_id, first)];
            Stand { trace_id: new_trace_id(), span_id: new_span_id(), parent: None, links }
        } else {
            Stand {
                trace_id: message.origin.trace_id,
                span_id: first,
                parent: message.parent,
                links: Vec::new(),
            }
        };
        let outcome = match fate {
            Fate::Done { .. } if is_again => "duplicate",
            fate => fate.name(),
        };
        let began = since.unwrap_or(batch.began);
        let mut span = self.consumer(batch, stand, began, message, fate, outcome);
        span.attributes.push(KeyValue::new("fulfil.batch_messages", messages as i64));
        if let Ok(waited) = began.duration_since(message.heard_at) {
            span.attributes.push(KeyValue::new("fulfil.topic_ms", millis(waited)));
        }
        let lay = message.recorded_at.and_then(|at| message.heard_at.duration_since(at).ok());
        if let Some(lay) = lay {
            span.attributes.push(KeyValue::new("fulfil.outbox_ms", millis(lay)));
        }
        Some(span)
    }

    fn redriven(&self, batch: &Batch, redriven: Redriven) -> Option<SpanData> {
        let Redriven { by, died, again, fate } = redriven;
        let [by, died, again] = [by, died, again].map(|raw| Message::of(&raw, None));
        let asked = span_id(by.id, batch.group);
        // Where it could not be read when it died, nobody has drawn what its events have as their parent.
        let known = |message: &Message| (message.id, message.origin.trace_id);
        let is_first = known(&died) != known(&again);
        let (origin, stand) = if is_first {
            let links = vec![context(by.origin.trace_id, asked)];
            let span_id = span_id(again.id, batch.group);
            let stand = Stand { trace_id: again.origin.trace_id, span_id, parent: again.parent, links };
            (again.origin, stand)
        } else {
            let links = vec![context(died.origin.trace_id, span_id(died.id, batch.group))];
            let stand =
                Stand { trace_id: by.origin.trace_id, span_id: new_span_id(), parent: Some(asked), links };
            (by.origin, stand)
        };
        is_sampled(&*self.sampler, origin)
            .then(|| self.consumer(batch, stand, batch.began, &again, &fate, "redriven"))
    }

    fn consumer(
        &self,
        batch: &Batch,
        stand: Stand,
        began: SystemTime,
        message: &Message,
        fate: &Fate,
        outcome: &'static str,
    ) -> SpanData {
        let destination = message.topic.name();
        let mut attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", destination),
            KeyValue::new("messaging.destination.partition.id", message.partition.to_string()),
            KeyValue::new("messaging.kafka.offset", message.offset),
            KeyValue::new("messaging.consumer.group.name", batch.group),
            KeyValue::new("messaging.message.id", message.id.to_string()),
            KeyValue::new("fulfil.outcome", outcome),
        ];
        if let Some(key) = &message.key {
            attributes.push(KeyValue::new("messaging.kafka.message.key", key.clone()));
        }
        if let Some(order_id) = message.order_id() {
            attributes.push(KeyValue::new("fulfil.order_id", order_id.to_owned()));
        }
        if let Some(message_type) = &message.message_type {
            attributes.push(KeyValue::new("fulfil.message_type", message_type.clone()));
        }
        let status = fate.tell(&mut attributes);
        let name = format!("process {destination}");
        self.span(batch, stand, SpanKind::Consumer, name, began, attributes, status)
    }

    #[expect(clippy::too_many_arguments, reason = "a span has as many parts")]
    pub(super) fn span(
        &self,
        batch: &Batch,
        stand: Stand,
        span_kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        start_time: SystemTime,
        attributes: Vec<KeyValue>,
        status: Status,
    ) -> SpanData {
        let mut links = SpanLinks::default();
        links.links = stand.links.into_iter().map(Link::with_context).collect();
        SpanData {
            span_context: context(stand.trace_id, stand.span_id),
            parent_span_id: stand.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: stand.parent.is_some(),
            span_kind,
            name: name.into(),
            start_time,
            end_time: batch.ended.max(start_time),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn millis(duration: Duration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::Sampler;
    use uuid::Uuid;

    use super::{super::work::Incoming, *};
    use crate::contract::{
        envelope::{Headers, Raw},
        topics::Topic,
    };

    const GROUP: &str = "inventory-service";
    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const CALLER: &str = "00f067aa0ba902b7";

    fn pen() -> Pen {
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        Pen::new(Box::new(sampler), InstrumentationScope::builder("test").build())
    }

    fn batch() -> Batch {
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(2);
        Batch { group: GROUP, began, ended: began + Duration::from_millis(5) }
    }

    fn message(id: u128, flags: &str) -> Raw {
        let value = format!(
            r#"{{"specversion":"1.0","id":"{}","source":"/x","type":"t","traceparent":"00-{TRACE_ID}-{CALLER}-{flags}","data":{{}}}}"#,
            Uuid::from_u128(id)
        );
        raw(value, id as i64)
    }

    fn raw(value: String, offset: i64) -> Raw {
        Raw {
            topic: Topic::InventoryCommands,
            partition: 0,
            offset,
            key: Some("SKU-1".into()),
            value: Some(value.into()),
            headers: Headers::Readable(vec![]),
            timestamp_ms: 500,
        }
    }

    fn processed(raw: Raw, events: usize) -> Work {
        let fate = Fate::Done { events, is_cause: events > 0 };
        let message = Incoming::Unread { raw, key: None };
        Work::Processed { message, fate, since: None }
    }

    fn drawn(pen: &mut Pen, work: Vec<Work>) -> Vec<SpanData> {
        let mut spans = Vec::new();
        pen.draw(&batch(), work, &mut spans);
        spans
    }

    fn links(span: &SpanData) -> Vec<(TraceId, SpanId)> {
        let of = |link: &Link| (link.span_context.trace_id(), link.span_context.span_id());
        span.links.iter().map(of).collect()
    }

    #[test]
    fn a_message_that_comes_again_is_linked_to_what_was_done_with_it_first() {
        let mut pen = pen();
        let work = vec![processed(message(1, "01"), 2), processed(message(1, "01"), 0)];
        let [first, again] = &drawn(&mut pen, work)[..] else { panic!("two spans") };
        assert_eq!(first.span_context.trace_id().to_string(), TRACE_ID);
        assert_eq!(first.span_context.span_id(), span_id(Uuid::from_u128(1), GROUP));
        assert_eq!(first.parent_span_id.to_string(), CALLER);
        assert_eq!(first.end_time.duration_since(first.start_time).unwrap(), Duration::from_millis(5));
        assert_ne!(again.span_context.trace_id(), first.span_context.trace_id());
        assert_eq!(again.parent_span_id, SpanId::INVALID);
        assert_eq!(links(again), [(first.span_context.trace_id(), first.span_context.span_id())]);
        // A crash forgot what was done; this is the first that was committed.
        let [redone] = &drawn(&mut pen, vec![processed(message(1, "01"), 2)])[..] else { panic!("one span") };
        assert_eq!(redone.span_context, first.span_context);
    }

    #[test]
    fn what_its_sender_does_not_draw_is_not_drawn() {
        assert_eq!(drawn(&mut pen(), vec![processed(message(1, "00"), 1)]), []);
    }

    #[test]
    fn a_redrive_is_a_parent_only_where_its_message_could_not_be_read_before() {
        let redriven = |died: Raw| {
            let fate = Fate::Done { events: 1, is_cause: true };
            let redriven = Redriven { by: message(2, "01"), died, again: message(1, "01"), fate };
            Work::Redriven(Box::new(redriven))
        };
        let of_message = (TraceId::from_hex(TRACE_ID).unwrap(), span_id(Uuid::from_u128(1), GROUP));
        let of_command = (of_message.0, span_id(Uuid::from_u128(2), GROUP));
        let [again] = &drawn(&mut pen(), vec![redriven(message(1, "01"))])[..] else { panic!("one span") };
        assert_eq!((links(again), again.parent_span_id), (vec![of_message], of_command.1));
        assert_ne!(again.span_context.span_id(), of_message.1);
        let [first] = &drawn(&mut pen(), vec![redriven(raw("{".to_owned(), 1))])[..] else {
            panic!("one span")
        };
        assert_eq!((links(first), first.span_context.span_id()), (vec![of_command], of_message.1));
        assert_eq!(first.parent_span_id.to_string(), CALLER);
    }
}

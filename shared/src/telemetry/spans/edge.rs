//! Spans of what is not a message: a command that a request asked for, the request itself, and a call to the world outside.

use opentelemetry::{
    KeyValue,
    trace::{SpanId, SpanKind, Status, TraceId},
};
use opentelemetry_sdk::trace::SpanData;
use uuid::Uuid;

use super::{
    ids::{Origin, is_sampled, new_span_id, span_id},
    pen::{Pen, Stand},
    work::{Batch, Called, Fate, Served},
};

impl Pen {
    /// The child of the request, and the parent of what the command made. A repeat is no parent, so it has an id of its own.
    pub(super) fn asked(
        &self,
        batch: &Batch,
        id: Uuid,
        traceparent: Option<&str>,
        key: &str,
        fate: &Fate,
    ) -> Option<SpanData> {
        let origin = Origin::new(traceparent, Uuid::try_parse(key).unwrap_or(id));
        if !is_sampled(&*self.sampler, origin) {
            return None;
        }
        let is_cause = matches!(fate, Fate::Done { is_cause: true, .. });
        let stand = Stand {
            trace_id: origin.trace_id,
            span_id: if is_cause { span_id(id, batch.group) } else { new_span_id() },
            parent: origin.caller.map(|caller| caller.span_id),
            links: Vec::new(),
        };
        let mut attributes = vec![
            KeyValue::new("fulfil.command_id", id.to_string()),
            KeyValue::new("fulfil.outcome", fate.name()),
        ];
        if Uuid::try_parse(key).is_ok() {
            attributes.push(KeyValue::new("fulfil.order_id", key.to_owned()));
        }
        let status = fate.tell(&mut attributes);
        Some(self.span(batch, stand, SpanKind::Internal, "decide", batch.began, attributes, status))
    }

    pub(super) fn served(&self, batch: &Batch, served: Served) -> Option<SpanData> {
        let Served { trace_id, span_id, caller, method, route, status } = served;
        let origin = Origin { trace_id: TraceId::from_hex(&trace_id).ok()?, caller };
        if !is_sampled(&*self.sampler, origin) {
            return None;
        }
        let stand = Stand {
            trace_id: origin.trace_id,
            span_id: SpanId::from_hex(&span_id).ok()?,
            parent: caller.map(|caller| caller.span_id),
            links: Vec::new(),
        };
        let name = format!("{method} {route}");
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ];
        let failed = if status >= 500 {
            attributes.push(KeyValue::new("error.type", status.to_string()));
            Status::error("")
        } else {
            Status::Unset
        };
        Some(self.span(batch, stand, SpanKind::Server, name, batch.began, attributes, failed))
    }

    pub(super) fn called(&self, batch: &Batch, called: Called) -> Option<SpanData> {
        let Called { cause, name, order_id, attempt, error } = called;
        if !is_sampled(&*self.sampler, cause.origin) {
            return None;
        }
        let stand = Stand {
            trace_id: cause.origin.trace_id,
            span_id: new_span_id(),
            parent: Some(cause.parent),
            links: Vec::new(),
        };
        let mut attributes = vec![
            KeyValue::new("fulfil.order_id", order_id.to_string()),
            KeyValue::new("fulfil.attempt", i64::from(attempt)),
        ];
        let status = match error {
            None => Status::Unset,
            Some(error) => {
                attributes.push(KeyValue::new("error.type", error));
                Status::error(error)
            }
        };
        Some(self.span(batch, stand, SpanKind::Client, name, batch.began, attributes, status))
    }
}

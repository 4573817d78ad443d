//! How the rest of the process tells what was done. Where there is no collector this is one look at a pointer for each batch,
//! request or call.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::{
    ids::{Caller, Origin, span_id},
    sender::{is_drawn, offer, sender},
    work::{Batch, Called, Cause, Served, Size, Work},
};
use crate::{decider::Task, http::Trace};

/// A request or a call.
const ONE: Size = Size { spans: 1, bytes: 0 };

/// Whether anybody wants spans.
pub fn are_on() -> bool {
    sender().is_some()
}

/// When a batch was taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Began(Option<SystemTime>);

impl Began {
    pub fn now() -> Self {
        Self(are_on().then(SystemTime::now))
    }

    fn ago(duration: Duration) -> Self {
        Self(SystemTime::now().checked_sub(duration))
    }
}

/// After the commit of a batch: `work`, of this size, is made by the thread that draws.
pub fn tell(
    group: &'static str,
    Began(began): Began,
    size: Size,
    work: impl FnOnce() -> Vec<Work> + Send + 'static,
) {
    let Some(began) = began.filter(|_| size.spans > 0) else { return };
    offer(size, Batch { group, began, ended: SystemTime::now() }, Box::new(work));
}

/// Whether a trace that begins here is drawn.
pub fn is_sampled(trace_id: &str) -> bool {
    sender().is_none_or(|sender| {
        let id = Uuid::try_parse(trace_id).unwrap_or_default();
        is_drawn(sender, Origin::new(None, id))
    })
}

/// A request was answered, so long after it came. What asks for nothing to be done is not drawn.
pub fn served(trace: &Trace, method: &'static str, route: &str, status: u16, took: Duration) {
    if !are_on() || ["GET", "HEAD", "OPTIONS"].contains(&method) {
        return;
    }
    let caller = trace.caller().and_then(|span_id| {
        let span_id = opentelemetry::trace::SpanId::from_hex(span_id).ok()?;
        Some(Caller { span_id, is_sampled: trace.is_sampled() })
    });
    let served = Served {
        trace_id: trace.trace_id().to_owned(),
        span_id: trace.span_id().to_owned(),
        caller,
        method,
        route: route.to_owned(),
        status,
    };
    tell("", Began::ago(took), ONE, move || vec![Work::Served(served)]);
}

tokio::task_local! {
    static CAUSE: Cause;
}

/// What is called in it is called for this task.
pub async fn caused_by<C: Future>(group: &'static str, task: &Task, call: C) -> C::Output {
    if !are_on() {
        return call.await;
    }
    // As the events will have it that come of it.
    let id = Uuid::try_parse(task.stream.key()).unwrap_or(task.cause);
    let origin = Origin::new(task.traceparent.as_deref(), id);
    CAUSE.scope(Cause { origin, parent: span_id(task.cause, group) }, call).await
}

/// A call to the world outside.
pub struct Calling {
    began: Began,
    name: &'static str,
    order_id: Uuid,
    attempt: i32,
}

pub fn calling(name: &'static str, order_id: Uuid, attempt: i32) -> Calling {
    Calling { began: Began::now(), name, order_id, attempt }
}

impl Calling {
    /// `error`: why there is no answer.
    pub fn ended(self, error: Option<&'static str>) {
        let Self { began, name, order_id, attempt } = self;
        let Ok(cause) = CAUSE.try_with(|cause| *cause) else { return };
        let called = Called { cause, name, order_id, attempt, error };
        tell("", began, ONE, move || vec![Work::Called(called)]);
    }
}

//! Events as they are folded: for whoever wants to look on. A stream that does not end by itself.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName},
    response::sse::{Event, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        brief::brief,
        envelope::time_text,
        ids::{OrderId, Sku},
        topics::Topic,
    },
    http::{Problem, Query, problem::ProblemBody},
    shutdown::Shutdown,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Interval, MissedTickBehavior, interval},
};
use utoipa::{IntoParams, ToSchema};

use super::{App, given::given};
use crate::live::{Live, Seen, Since};

/// How often something is pushed, at most.
const PUSH: Duration = Duration::from_millis(200);
/// In one push. What is more waits for the next.
pub(crate) const EVENTS_MAX: usize = 500;
/// A listener that hears nothing for so long is told that it is still heard.
const SILENCE: Duration = Duration::from_secs(15);
const RETRY_SECONDS: u32 = 5;
const PART_CHARS_MAX: usize = 128;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// A part of the type: `payment`, `order.created` or `fulfil.order.created.v2`.
    #[serde(default, rename = "type", deserialize_with = "given")]
    pub event_type: Option<String>,
    /// An order id or the start of one.
    #[serde(default, deserialize_with = "given")]
    pub order: Option<String>,
    /// Of stock events.
    #[param(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    pub sku: Option<Sku>,
    /// Who wrote it: `payment-service`.
    #[serde(default, deserialize_with = "given")]
    pub service: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub topic: Option<String>,
    /// An id of an event: what came after it. The header Last-Event-ID goes before it.
    #[serde(default, deserialize_with = "given")]
    pub after: Option<String>,
}

/// Which events somebody wants to see.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    event_type: Option<String>,
    order: Option<String>,
    sku: Option<Sku>,
    service: Option<String>,
    topic: Option<Topic>,
}

/// An event that was folded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventBody {
    #[schema(value_type = uuid::Uuid)]
    pub id: String,
    #[serde(rename = "type")]
    pub event_type: String,
    #[schema(value_type = Option<uuid::Uuid>)]
    pub order_id: Option<OrderId>,
    #[schema(value_type = Option<String>)]
    pub sku: Option<Sku>,
    pub service: String,
    pub time: String,
    pub topic: &'static str,
    pub partition: i32,
    pub offset: i64,
    /// The stream version; null where no service of ours wrote it.
    pub sequence: Option<i64>,
    /// The view had it.
    pub duplicate: bool,
    /// What it says, in a few words.
    pub brief: String,
}

/// So many events were not told.
#[derive(Debug, Serialize, ToSchema)]
struct MissedBody {
    /// Null where it is not known: another process gave the id.
    missed: Option<u64>,
}

/// Events as this process folds them into the view, each after its commit
///
/// An endless stream of server-sent events: each message is an event, its `data` the body below, its id where to go on. At
/// most five times a second up to 500 of them. This process keeps the newest 5,000 (8 MiB of payloads at most), of the
/// partitions that it reads; with Last-Event-ID the stream goes on after that one. An event `missed` says how many are not
/// kept any more, `{"missed": null}` where the id is not of this process. Without an id it begins now. A connection that takes
/// no more bytes for 30 seconds is closed: one that is gone, or whose reader stopped and whose buffers are full.
#[utoipa::path(get, path = "/events", tag = "events", params(EventsQuery),
    responses(
        (status = 200, body = EventBody, content_type = "text/event-stream"),
        (status = 400, body = ProblemBody), (status = 503, description = "Too many listen", body = ProblemBody)))]
pub(super) async fn follow(
    State(app): State<App>,
    Query(asked): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let filter = Filter::of(&asked)?;
    let place =
        app.live.listen().ok_or_else(|| Problem::unavailable("too many listen already", RETRY_SECONDS))?;
    let id = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).or(asked.after.as_deref());
    let after = id.map(|id| app.live.after(id));
    let mut ticks = interval(PUSH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        next: after.flatten().unwrap_or_else(|| app.live.end()),
        is_lost: after == Some(None),
        filter,
        ticks,
        told_at: Instant::now(),
        live: app.live,
        shutdown: app.shutdown,
        _place: place,
    };
    let pushes =
        stream::unfold(listener, |mut listener| async move { Some((listener.push().await?, listener)) });
    Ok(Sse::new(pushes.flat_map(|events| stream::iter(events.into_iter().map(Ok)))))
}

struct Listener {
    live: Live,
    filter: Filter,
    /// The number of the event that is looked at next.
    next: u64,
    /// It asked to go on from a place that nobody knows.
    is_lost: bool,
    ticks: Interval,
    told_at: Instant,
    shutdown: Shutdown,
    /// Among those who listen; given back with the connection, which the server closes where it takes no more bytes.
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// What there is to tell next. `None` where the process stops.
    async fn push(&mut self) -> Option<Vec<Event>> {
        loop {
            tokio::select! {
                _ = self.ticks.tick() => {}
                () = self.shutdown.requested() => return None,
            }
            let mut events = self.look();
            if events.is_empty() && self.told_at.elapsed() >= SILENCE {
                // With the place: after a long time without a match it would go on from one that is gone.
                events.push(self.marked(Event::default().comment("")));
            }
            if !events.is_empty() {
                self.told_at = Instant::now();
                return Some(events);
            }
        }
    }

    fn look(&mut self) -> Vec<Event> {
        let Since { seen, missed } = self.live.since(self.next);
        let is_lost = std::mem::take(&mut self.is_lost);
        self.next += missed;
        let mut events = Vec::new();
        if missed > 0 || is_lost {
            let body = MissedBody { missed: (!is_lost).then_some(missed) };
            events.extend(Event::default().event("missed").json_data(body).map(|event| self.marked(event)));
        }
        for (number, seen) in seen {
            if events.len() == EVENTS_MAX {
                break;
            }
            self.next = number + 1;
            if self.filter.matches(&seen) {
                let body = EventBody::of(&seen);
                events.extend(Event::default().json_data(body).map(|event| self.marked(event)));
            }
        }
        events
    }

    /// With where to go on.
    fn marked(&self, event: Event) -> Event {
        match self.next.checked_sub(1) {
            Some(number) => event.id(self.live.id(number)),
            None => event,
        }
    }
}

impl Filter {
    pub(crate) fn of(asked: &EventsQuery) -> Result<Self, Problem> {
        let EventsQuery { event_type, order, sku, service, topic, after: _ } = asked;
        for (pointer, part) in [("/type", event_type), ("/order", order), ("/service", service)] {
            if part.as_deref().is_some_and(|part| !is_part(part)) {
                let detail = format!("is not 1 to {PART_CHARS_MAX} of A-Z a-z 0-9 . _ - /");
                return Err(Problem::unreadable(pointer, detail));
            }
        }
        let topic = topic.as_deref().map(|name| {
            let known = Topic::parse(name).filter(|topic| topic.is_events());
            known.ok_or_else(|| Problem::unreadable("/topic", "is no topic of events"))
        });
        Ok(Self {
            event_type: event_type.clone(),
            order: order.as_deref().map(str::to_ascii_lowercase),
            sku: sku.clone(),
            service: service.clone(),
            topic: topic.transpose()?,
        })
    }

    pub(crate) fn matches(&self, Seen { fact, .. }: &Seen) -> bool {
        let Self { event_type, order, sku, service, topic } = self;
        let is_of = |start: &String| fact.order_id().is_some_and(|id| id.to_string().starts_with(start));
        event_type.as_ref().is_none_or(|part| fact.envelope.message_type.contains(part))
            && topic.is_none_or(|topic| fact.topic == topic)
            && service.as_ref().is_none_or(|service| fact.service() == service)
            && sku.as_ref().is_none_or(|sku| fact.sku() == Some(sku))
            && order.as_ref().is_none_or(is_of)
    }
}

/// What types, ids and names of services are made of.
fn is_part(text: &str) -> bool {
    (1..=PART_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte))
}

impl EventBody {
    pub(crate) fn of(Seen { fact, partition, offset, is_duplicate }: &Seen) -> Self {
        let envelope = &fact.envelope;
        Self {
            id: envelope.id.to_string(),
            event_type: envelope.message_type.clone(),
            order_id: fact.order_id(),
            sku: fact.sku().cloned(),
            service: fact.service().to_owned(),
            time: time_text(fact.time()),
            topic: fact.topic.name(),
            partition: *partition,
            offset: *offset,
            sequence: envelope.sequence,
            duplicate: *is_duplicate,
            brief: brief(&envelope.message_type, &serde_json::from_str(&envelope.data).unwrap_or_default()),
        }
    }
}

//! Messages that are committed together. A commit costs far more than one row of it, and the events of an order come a few
//! milliseconds apart: each would be a batch of its own at a low rate, so the first waits a moment for those that follow.
//! What people wait for does not, but for the rest of the loop: how an order ended, or why it cannot, and what has the key of
//! something that the view was asked for before it came.

use std::time::{Duration, Instant};

use shared::{contract::envelope::Raw, pace::ENOUGH};

use super::waiters::Waiters;

/// Messages committed together, at most. Twice as many make it no faster, and take twice the memory.
pub const BATCH_MAX: usize = 500;
/// What they may have together.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long the view can lack what nobody waits for.
const PATIENCE: Duration = Duration::from_millis(20);
const WAITED_FOR: [&str; 4] = [
    "fulfil.order.completed.v1",
    "fulfil.order.cancelled.v1",
    "fulfil.order.settled.v1",
    "fulfil.order.cancellation-rejected.v1",
];

#[derive(Debug, Default)]
pub struct Gathered {
    messages: Vec<Raw>,
    bytes: usize,
    due: Option<Instant>,
}

impl Gathered {
    pub fn push(&mut self, raw: Raw, now: Instant, waiters: &Waiters) {
        let is_waited_for = raw.headers.text("ce_type").is_some_and(|name| WAITED_FOR.contains(&name))
            || raw.key.as_ref().is_some_and(|key| waiters.is_awaited(key));
        let due = if is_waited_for { now } else { now + PATIENCE };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        self.bytes += raw.bytes();
        self.messages.push(raw);
    }

    /// Whether nothing more can join them, where a batch has so many at most.
    pub fn is_full(&self, batch_max: usize) -> bool {
        self.messages.len() >= batch_max || self.bytes >= BATCH_BYTES_MAX
    }

    /// When to commit them: a few not before `rested`. `None`: there are none.
    pub fn due(&self, batch_max: usize, rested: Instant) -> Option<Instant> {
        let due = self.due?;
        let is_closed = self.messages.len() >= ENOUGH || self.is_full(batch_max);
        Some(if is_closed { due.min(Instant::now()) } else { due.max(rested) })
    }

    /// All of them.
    pub fn take(&mut self) -> Vec<Raw> {
        std::mem::take(self).messages
    }
}

#[cfg(test)]
mod tests {
    use shared::contract::{envelope::Headers, ids::StreamName, order::OrderEvent, topics::Topic};

    use super::*;

    fn raw(message_type: &'static str) -> Raw {
        Raw {
            topic: Topic::OrdersEvents,
            partition: 0,
            offset: 0,
            key: None,
            value: Some("{}".into()),
            headers: Headers::Readable(vec![("ce_type".into(), Some(message_type.into()))]),
            timestamp_ms: 0,
        }
    }

    #[test]
    fn what_nobody_waits_for_waits_for_more_and_goes_with_what_somebody_does() {
        let (mut gathered, nobody, now) = (Gathered::default(), Waiters::default(), Instant::now());
        assert_eq!(gathered.due(BATCH_MAX, now), None);
        gathered.push(raw("fulfil.order.created.v2"), now, &nobody);
        gathered.push(raw("fulfil.order.confirmed.v1"), now + PATIENCE / 2, &nobody);
        assert_eq!(gathered.due(BATCH_MAX, now), Some(now + PATIENCE), "since the first came");
        gathered.push(raw("fulfil.order.completed.v1"), now + PATIENCE / 2, &nobody);
        assert_eq!(gathered.due(BATCH_MAX, now), Some(now + PATIENCE / 2));
        assert_eq!(gathered.take().len(), 3);
        assert!(WAITED_FOR.iter().all(|name| OrderEvent::TYPES.contains(name)));
        assert_eq!(gathered.due(BATCH_MAX, now), None);
    }

    #[test]
    fn what_the_view_was_asked_to_wait_for_goes_at_once_and_nothing_else_does() {
        let (mut gathered, waiters, now) = (Gathered::default(), Waiters::default(), Instant::now());
        let _told = waiters.listen(&StreamName::stock(&"SKU-1".parse().unwrap()));
        for (sku, due) in [("SKU-2", now + PATIENCE), ("SKU-1", now)] {
            gathered.push(Raw { key: Some(sku.into()), ..raw("fulfil.stock.received.v1") }, now, &waiters);
            assert_eq!(gathered.due(BATCH_MAX, now), Some(due), "{sku}");
        }
    }

    #[test]
    fn a_few_wait_for_the_rest_of_the_loop_and_many_for_nothing() {
        let (mut gathered, nobody, now) = (Gathered::default(), Waiters::default(), Instant::now());
        let rested = now + Duration::from_secs(60);
        for _ in 1..ENOUGH {
            gathered.push(raw("fulfil.order.completed.v1"), now, &nobody);
        }
        assert_eq!(gathered.due(BATCH_MAX, rested), Some(rested));
        gathered.push(raw("fulfil.order.created.v2"), now, &nobody);
        assert!(gathered.due(BATCH_MAX, rested).is_some_and(|due| due <= Instant::now()));
    }

    #[test]
    fn a_batch_is_full_by_number_and_by_bytes() {
        let (mut gathered, nobody, now) = (Gathered::default(), Waiters::default(), Instant::now());
        gathered.push(raw("fulfil.order.created.v2"), now, &nobody);
        assert!(gathered.is_full(1) && !gathered.is_full(BATCH_MAX));
        assert!(gathered.due(1, now).is_some_and(|due| due <= Instant::now()), "nothing can join it");
        assert!(gathered.due(BATCH_MAX, now).is_some_and(|due| due > now));
        gathered.push(Raw { value: Some(vec![0; BATCH_BYTES_MAX].into()), ..raw("") }, now, &nobody);
        assert!(gathered.is_full(BATCH_MAX));
        assert!(gathered.due(BATCH_MAX, now).is_some_and(|due| due <= Instant::now()), "nothing can join it");
    }
}

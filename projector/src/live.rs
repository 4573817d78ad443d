//! What was folded last, for whoever looks on. The loop adds to it after each commit and does no more for that; listeners
//! look by themselves, and one that is too slow finds out how many it has missed.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::view::rows::Fact;

/// Events that are kept, at most: as long as fits, a reader that comes again misses nothing.
pub const KEPT_MAX: usize = 5_000;
/// Of payloads.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Of one process. Each holds a connection.
pub const LISTENERS_MAX: usize = 32;

/// An event that was folded, and where it stood.
#[derive(Debug, Clone)]
pub struct Seen {
    pub fact: Arc<Fact>,
    pub partition: i32,
    pub offset: i64,
    /// The view had it.
    pub is_duplicate: bool,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {
    /// Numbers are those of one process.
    run: Uuid,
    kept: Arc<Mutex<Kept>>,
    listeners: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Kept {
    seen: VecDeque<Seen>,
    bytes: usize,
    /// The number of the next event, from 0.
    next: u64,
}

/// What came after a place.
#[derive(Debug)]
pub struct Since {
    /// With their numbers, oldest first.
    pub seen: Vec<(u64, Seen)>,
    /// Not kept any more.
    pub missed: u64,
}

impl Default for Live {
    fn default() -> Self {
        let listeners = Arc::new(Semaphore::new(LISTENERS_MAX));
        Self { run: Uuid::now_v7(), kept: Arc::default(), listeners }
    }
}

impl Live {
    /// Tells of what is committed.
    pub fn tell(&self, committed: Vec<Seen>) {
        let mut kept = self.lock();
        for seen in committed {
            kept.next += 1;
            kept.bytes += seen.fact.envelope.data.len();
            kept.seen.push_back(seen);
        }
        while kept.seen.len() > KEPT_MAX || kept.bytes > KEPT_BYTES_MAX {
            let Some(oldest) = kept.seen.pop_front() else { return };
            kept.bytes -= oldest.fact.envelope.data.len();
        }
    }

    /// A place among those who listen. `None` where there are too many.
    pub fn listen(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.listeners).try_acquire_owned().ok()
    }

    /// The number of the event that comes next.
    pub fn end(&self) -> u64 {
        self.lock().next
    }

    /// All from this number on.
    pub fn since(&self, number: u64) -> Since {
        let kept = self.lock();
        let first = kept.next - kept.seen.len() as u64;
        let from = number.max(first);
        let skipped = usize::try_from(from - first).unwrap_or(usize::MAX);
        let seen = (from..).zip(kept.seen.iter().skip(skipped).cloned()).collect();
        Since { seen, missed: from - number }
    }

    /// What a listener names to go on after this event.
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.run.simple())
    }

    /// Where to go on after an id. `None` where another process gave it, or nobody.
    pub fn after(&self, id: &str) -> Option<u64> {
        let (run, number) = id.split_once('-')?;
        let next = number.parse::<u64>().ok()?.checked_add(1)?;
        (Uuid::try_parse(run) == Ok(self.run) && next <= self.end()).then_some(next)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it is held; and if it did, the events would still be whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use shared::contract::{
        envelope::{Headers, Mode, Raw},
        samples::sample,
        topics::Topic,
    };

    use super::*;
    use crate::intake::{self, Heard};

    fn seen(offset: i64) -> Seen {
        let raw = Raw {
            topic: Topic::OrdersEvents,
            partition: 0,
            offset,
            key: None,
            value: Some(sample("fulfil.order.completed.v1").unwrap().into()),
            headers: Headers::Readable(Vec::new()),
            timestamp_ms: 0,
        };
        let heard = intake::read(&raw, Mode::Development);
        let Ok(Heard::Event(fact)) = heard else { panic!("{:?}", heard.err()) };
        Seen { fact, partition: 0, offset, is_duplicate: false }
    }

    fn offsets(since: &Since) -> Vec<i64> {
        since.seen.iter().map(|(_, seen)| seen.offset).collect()
    }

    #[test]
    fn a_listener_goes_on_where_it_was() {
        let live = Live::default();
        live.tell((0..5).map(seen).collect());
        let next = live.after(&live.id(2)).unwrap();
        let since = live.since(next);
        assert_eq!((offsets(&since), since.missed), (vec![3, 4], 0));
        assert!(live.since(live.end()).seen.is_empty());
    }

    #[test]
    fn an_id_of_another_process_or_of_nobody_is_not_known() {
        let (live, other) = (Live::default(), Live::default());
        live.tell(vec![seen(0)]);
        for id in [&other.id(0), &live.id(1), &live.id(u64::MAX), "", "5", "x-0"] {
            assert_eq!(live.after(id), None, "{id}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_who_was_too_slow_is_told() {
        let live = Live::default();
        let all = KEPT_MAX as i64 + 7;
        (0..all).for_each(|offset| live.tell(vec![seen(offset)]));
        let since = live.since(0);
        assert_eq!((since.seen.len(), since.missed), (KEPT_MAX, 7));
        assert_eq!((since.seen[0].0, since.seen[0].1.offset), (7, 7));
        let large = |seen: Seen| {
            let mut fact = Fact::clone(&seen.fact);
            fact.envelope.data = " ".repeat(KEPT_BYTES_MAX / 2);
            Seen { fact: fact.into(), ..seen }
        };
        live.tell((0..3).map(|offset| large(seen(offset))).collect());
        assert_eq!(offsets(&live.since(0)), [1, 2]);
    }

    #[test]
    fn those_who_listen_are_bounded() {
        let live = Live::default();
        let listening: Vec<_> = (0..LISTENERS_MAX).map(|_| live.listen().unwrap()).collect();
        assert!(live.listen().is_none());
        drop(listening);
        assert!(live.listen().is_some());
    }
}

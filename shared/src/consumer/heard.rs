//! What the consumer thread tells the loop: messages in one queue, changes of the assignment in another that goes first.
//!
//! A change must not wait behind what was fetched: the group waits with us. So whoever takes it forgets the messages
//! in the queue, which were fetched under the assignment before it; where they are still ours they come again, from
//! the positions that the loop answers with.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::SyncSender,
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::Suspicion;
use crate::contract::{envelope::Raw, topics::Topic};

/// A partition of a topic.
pub type Place = (Topic, i32);

/// Of messages that wait in the queue: values, keys and headers. One more message may exceed it.
const QUEUED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The thread waits for the answer to each, so there is never a second one; what is suspected is said by partition.
const CHANGES_MAX: usize = 256;

/// Where to go on: the next offset, `None` where the group has no position yet and begins at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub place: Place,
    pub next: Option<i64>,
}

#[derive(Debug)]
pub enum Change {
    /// These partitions, and no others, are ours from now on. Nothing of them comes before the reply, which says
    /// where each goes on. A dropped reply keeps the thread from fetching until it is assigned anew.
    Assigned { places: Vec<Place>, reply: SyncSender<Vec<Position>> },
    /// No partition is ours any more. The reply lets the others have them.
    Revoked { reply: SyncSender<()> },
    /// A stored position is outside of what the topic has: retention or a truncated topic took messages that were
    /// never read. The partition stays unread until an operator says that the loss is accepted.
    DataLossSuspected(Suspicion),
    /// The client cannot go on; the process should end.
    Fatal(String),
}

/// The loop's end of the queues.
pub struct Heard {
    changes: mpsc::Receiver<Change>,
    messages: mpsc::Receiver<Raw>,
    queued_bytes: Arc<AtomicUsize>,
    waits: Waits,
}

/// The thread that waits for room.
type Waits = Arc<Mutex<Option<Thread>>>;

/// The thread's end.
pub struct Teller {
    pub changes: mpsc::Sender<Change>,
    messages: mpsc::Sender<Raw>,
    queued_bytes: Arc<AtomicUsize>,
    waits: Waits,
}

/// A wait for room ends when this share of the queue is free, so that the thread does not wake for each message.
const ROOM_SHARE: usize = 4;

/// Queues for at most `messages_max` messages.
pub fn queues(messages_max: usize) -> (Teller, Heard) {
    let (changes_sender, changes) = mpsc::channel(CHANGES_MAX);
    let (messages_sender, messages) = mpsc::channel(messages_max);
    let (queued_bytes, waits) = (Arc::<AtomicUsize>::default(), Waits::default());
    let teller = Teller {
        changes: changes_sender,
        messages: messages_sender,
        queued_bytes: Arc::clone(&queued_bytes),
        waits: Arc::clone(&waits),
    };
    (teller, Heard { changes, messages, queued_bytes, waits })
}

impl Heard {
    /// A change that is there.
    pub fn try_change(&mut self) -> Option<Change> {
        let change = self.changes.try_recv().ok()?;
        self.forget(&change);
        Some(change)
    }

    /// A message that is there.
    pub fn try_message(&mut self) -> Option<Raw> {
        let raw = self.messages.try_recv().ok()?;
        self.taken(&raw);
        Some(raw)
    }

    /// The next change, or message where messages are wanted; a change first. `None`: the thread is gone. Can be
    /// cancelled.
    pub async fn next(&mut self, messages: bool) -> Option<Next> {
        tokio::select! {
            biased;
            change = self.changes.recv() => {
                let change = change?;
                self.forget(&change);
                Some(Next::Change(change))
            }
            message = self.messages.recv(), if messages => {
                let raw = message?;
                self.taken(&raw);
                Some(Next::Message(raw))
            }
        }
    }

    fn taken(&self, raw: &Raw) {
        self.queued_bytes.fetch_sub(raw.bytes(), Ordering::Relaxed);
        if self.messages.capacity() >= room(self.messages.max_capacity())
            && let Some(thread) = lock(&self.waits).take()
        {
            thread.unpark();
        }
    }

    fn forget(&mut self, change: &Change) {
        if let Change::Assigned { .. } | Change::Revoked { .. } = change {
            while self.try_message().is_some() {}
        }
    }
}

#[derive(Debug)]
pub enum Next {
    Change(Change),
    Message(Raw),
}

impl Teller {
    /// Gives the message back where it does not fit.
    pub fn tell(&self, raw: Raw) -> Result<(), Untold> {
        if self.queued_bytes.load(Ordering::Relaxed) > QUEUED_BYTES_MAX {
            return Err(Untold::Full(raw));
        }
        let bytes = raw.bytes();
        // Before the other end can take it.
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.messages.try_send(raw).map_err(|error| {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(raw) => Untold::Full(raw),
                mpsc::error::TrySendError::Closed(_) => Untold::Gone,
            }
        })
    }

    /// Blocks until a share of a queue that is full of messages is free, and says whether it is. One that is full of
    /// bytes is not waited for.
    pub fn wait_for_room(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.queued_bytes.load(Ordering::Relaxed) <= QUEUED_BYTES_MAX {
            *lock(&self.waits) = Some(thread::current());
            let left = until.saturating_duration_since(Instant::now());
            if self.messages.capacity() >= room(self.messages.max_capacity()) || self.messages.is_closed() {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            thread::park_timeout(left);
        }
        false
    }
}

/// How much of a queue must be free to end a wait.
fn room(messages_max: usize) -> usize {
    (messages_max / ROOM_SHARE).max(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a message was not taken.
#[derive(Debug)]
pub enum Untold {
    Full(Raw),
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::envelope::Headers;

    fn message(bytes: usize) -> Raw {
        Raw {
            topic: Topic::OrdersEvents,
            partition: 0,
            offset: 0,
            key: None,
            value: Some(vec![0; bytes].into()),
            headers: Headers::Readable(vec![]),
            timestamp_ms: 0,
        }
    }

    #[test]
    fn a_change_of_the_assignment_goes_first_and_takes_what_was_fetched_before_it() {
        let (teller, mut heard) = queues(10);
        for _ in 0..3 {
            assert!(teller.tell(message(1)).is_ok());
        }
        let (reply, _answer) = std::sync::mpsc::sync_channel(1);
        teller.changes.try_send(Change::Revoked { reply }).unwrap();
        assert!(matches!(heard.try_change(), Some(Change::Revoked { .. })));
        assert!(heard.try_message().is_none());
        assert!(teller.tell(message(1)).is_ok());
        assert!(heard.try_message().is_some());
    }

    #[test]
    fn the_queue_is_bounded_in_messages_and_in_bytes() {
        let (teller, mut heard) = queues(2);
        assert!(teller.tell(message(1)).is_ok() && teller.tell(message(1)).is_ok());
        assert!(matches!(teller.tell(message(1)), Err(Untold::Full(_))));
        let (teller, _heard) = queues(10);
        assert!(teller.tell(message(QUEUED_BYTES_MAX + 1)).is_ok());
        assert!(matches!(teller.tell(message(1)), Err(Untold::Full(_))));
        assert!(heard.try_message().is_some() && heard.try_message().is_some());
        assert_eq!(heard.queued_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_queue_is_waited_for_until_a_share_of_it_is_free() {
        const SHORT: Duration = Duration::from_millis(5);
        const LONG: Duration = Duration::from_secs(60);
        let (teller, mut heard) = queues(8);
        while teller.tell(message(1)).is_ok() {}
        assert!(!teller.wait_for_room(SHORT), "nobody takes one");
        assert!(heard.try_message().is_some());
        assert!(!teller.wait_for_room(SHORT), "one is less than a quarter");
        assert!(teller.tell(message(1)).is_ok());
        *lock(&heard.waits) = None;
        let begun = Instant::now();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| teller.wait_for_room(LONG));
            while lock(&heard.waits).is_none() {
                thread::yield_now();
            }
            assert!(heard.try_message().is_some() && heard.try_message().is_some());
            assert!(waiting.join().unwrap());
        });
        assert!(begun.elapsed() < LONG, "the thread is woken");
        while teller.tell(message(1)).is_ok() {}
        drop(heard);
        assert!(teller.wait_for_room(LONG), "nobody is there to wait for");
        let (teller, _heard) = queues(8);
        assert!(teller.tell(message(QUEUED_BYTES_MAX + 1)).is_ok());
        assert!(!teller.wait_for_room(LONG), "by bytes it is not waited for");
    }
}

//! How far the view is behind the topics, as far as this process can know: the age of the oldest message that it
//! is committing, or how long messages have waited that it has not begun to commit. What it gathers for a moment before it
//! begins counts in neither.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use shared::contract::Timestamp;

/// After the last message of a backlog the next one is at hand at once. Silence for so long: there is none.
const QUIET: Duration = Duration::from_millis(100);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lag {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    state: State,
    /// As of the last look at the ends of the topics; something was committed since: 0.
    waited_ms: i64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Messages of this age or younger are being worked on.
    Behind(Timestamp),
    /// All that was taken is committed; the newest was of this time.
    Committed(Timestamp, Instant),
}

impl Lag {
    /// Nothing is known before the first commit, so a new process is as far behind as it is old.
    pub fn new(started: Timestamp) -> Self {
        Self { seen: Arc::new(Mutex::new(Seen { state: State::Behind(started), waited_ms: 0 })) }
    }

    pub fn taken(&self, oldest: Timestamp) {
        self.lock().state = State::Behind(oldest);
    }

    pub fn committed(&self, newest: Timestamp) {
        *self.lock() = Seen { state: State::Committed(newest, Instant::now()), waited_ms: 0 };
    }

    /// The longest that a message has waited untaken; 0 where none does.
    pub fn waited(&self, waited_ms: i64) {
        self.lock().waited_ms = waited_ms;
    }

    pub fn ms(&self, now: Timestamp) -> i64 {
        let Seen { state, waited_ms } = *self.lock();
        let since = |time: Timestamp| (now - time).num_milliseconds().max(0);
        let of_taken_ms = match state {
            State::Behind(oldest) => since(oldest),
            State::Committed(_, at) if at.elapsed() > QUIET => 0,
            State::Committed(newest, _) => since(newest),
        };
        of_taken_ms.max(waited_ms)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

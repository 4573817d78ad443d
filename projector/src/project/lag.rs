//! How far the view is behind the topics, as far as this process can know: the age of the oldest message that it
//! has taken and not committed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::contract::Timestamp;

/// After the last message of a backlog the next one is at hand at once. Silence for so long: there is none.
const QUIET: Duration = Duration::from_millis(100);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lag {
    state: Arc<Mutex<State>>,
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
        Self { state: Arc::new(Mutex::new(State::Behind(started))) }
    }

    pub fn taken(&self, oldest: Timestamp) {
        self.set(State::Behind(oldest));
    }

    pub fn committed(&self, newest: Timestamp) {
        self.set(State::Committed(newest, Instant::now()));
    }

    pub fn ms(&self, now: Timestamp) -> i64 {
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |time: Timestamp| (now - time).num_milliseconds().max(0);
        match state {
            State::Behind(oldest) => since(oldest),
            State::Committed(_, at) if at.elapsed() > QUIET => 0,
            State::Committed(newest, _) => since(newest),
        }
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

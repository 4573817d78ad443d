//! What the rest of the process sees of its relay.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, task::JoinHandle, time::Instant};

use crate::contract::envelope::Recorded;

/// Committed events that the relay has not taken yet. Beyond this they are read from the table.
const COMMITTED_MAX: usize = 20_000;
const COMMITTED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How the relay stands, for readiness and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Another replica's relay publishes.
    Following,
    Publishing,
    /// Something is away; it goes on by itself.
    Waiting {
        reason: String,
    },
    /// Going on would lose or reorder something. It does not go on by itself.
    Halted {
        reason: String,
    },
}

/// Of a running relay. Cheap to clone.
#[derive(Clone)]
pub struct RelayHandle {
    pub(super) inside: Arc<Inside>,
}

/// A running relay. Dropped, it is aborted like in a crash; [`Relay::stop`] finishes first.
pub struct Relay {
    handle: RelayHandle,
    task: JoinHandle<()>,
}

pub(super) struct Inside {
    /// There is something to do.
    pub(super) work: Arc<Notify>,
    committed: Mutex<Committed>,
    leads: AtomicBool,
    alone: AtomicBool,
    letters: AtomicBool,
    backlog: AtomicI64,
    state: Mutex<State>,
    stop_at: Mutex<Option<Instant>>,
}

#[derive(Default)]
pub(super) struct Committed {
    pub(super) events: VecDeque<Recorded>,
    bytes: usize,
    /// The last position of what did not fit.
    pub(super) dropped: Option<i64>,
}

impl RelayHandle {
    pub(super) fn new() -> Self {
        let inside = Inside {
            work: Arc::new(Notify::new()),
            committed: Mutex::default(),
            leads: AtomicBool::new(false),
            alone: AtomicBool::new(false),
            letters: AtomicBool::new(true),
            backlog: AtomicI64::new(0),
            state: Mutex::new(State::Waiting { reason: "it has not begun".into() }),
            stop_at: Mutex::new(None),
        };
        Self { inside: Arc::new(inside) }
    }

    /// Tells of events that were just committed, in order. Never waits: what does not fit is read from the table.
    pub fn committed(&self, events: Vec<Recorded>) {
        if events.is_empty() || !self.inside.leads.load(Ordering::Acquire) {
            return;
        }
        let mut committed = lock(&self.inside.committed);
        let bytes: usize = events.iter().map(|event| event.data.len()).sum();
        if committed.dropped.is_some()
            || committed.events.len() + events.len() > COMMITTED_MAX
            || committed.bytes + bytes > COMMITTED_BYTES_MAX
        {
            committed.dropped = events.last().map(|event| event.position);
        } else {
            committed.bytes += bytes;
            committed.events.extend(events);
        }
        drop(committed);
        self.inside.work.notify_one();
    }

    /// Dead letters or changes of them were committed.
    pub fn wake_letters(&self) {
        self.inside.letters.store(true, Ordering::Release);
        self.inside.work.notify_one();
    }

    /// Whether nobody else has a partition of this service, so that nobody else appends but for a command over HTTP.
    pub fn set_alone(&self, alone: bool) {
        self.inside.alone.store(alone, Ordering::Relaxed);
    }

    /// Events that the broker has not acknowledged, whichever replica publishes them. At most a second old.
    pub fn backlog(&self) -> i64 {
        self.inside.backlog.load(Ordering::Relaxed)
    }

    pub fn state(&self) -> State {
        lock(&self.inside.state).clone()
    }
}

impl Relay {
    pub(super) fn new(handle: RelayHandle, task: JoinHandle<()>) -> Self {
        Self { handle, task }
    }

    pub fn handle(&self) -> RelayHandle {
        self.handle.clone()
    }

    /// Publishes what is committed, waits for the acknowledgements, saves the cursor and gives the lock back; what
    /// is not done by `within` is left to the next relay.
    pub async fn stop(mut self, within: Duration) {
        *lock(&self.handle.inside.stop_at) = Some(Instant::now() + within);
        self.handle.inside.work.notify_one();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the relay did not stop in order");
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inside {
    pub(super) fn take_committed(&self) -> Committed {
        std::mem::take(&mut *lock(&self.committed))
    }

    pub(super) fn take_letters(&self) -> bool {
        self.letters.swap(false, Ordering::AcqRel)
    }

    pub(super) fn set_leads(&self, leads: bool) {
        self.leads.store(leads, Ordering::Release);
        if !leads {
            self.take_committed();
        }
    }

    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    pub(super) fn set_backlog(&self, backlog: i64) {
        self.backlog.store(backlog, Ordering::Relaxed);
    }

    /// A halt stays.
    pub(super) fn set_state(&self, state: State) {
        let mut present = lock(&self.state);
        if !matches!(*present, State::Halted { .. }) {
            *present = state;
        }
    }

    pub(super) fn stop_at(&self) -> Option<Instant> {
        *lock(&self.stop_at)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

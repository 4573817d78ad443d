//! Time, chance and the queue of what happens next. One seed is one order of events, for ever.

use std::collections::BTreeMap;

use payment_service::domain::{self as payment, Call};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use shared::{contract::Timestamp, decider::Task};

use super::{
    Bug,
    broker::{Broker, Sent},
    database::{Answer, Query},
};
use crate::faults::Faults;

/// A process: its service and which replica of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Who {
    pub(super) service: usize,
    pub(super) replica: usize,
}

/// Which of its two connections a process asks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Engine,
    Relay,
}

/// Who waits for the answer of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) who: Who,
    pub(super) run: u32,
    pub(super) line: Line,
}

#[derive(Debug)]
pub(super) enum Due {
    /// Somebody at the edge asks something, or asks again.
    Asked(usize),
    /// Somebody at the edge looks for the answer.
    Answered(usize),
    /// An operator looks at the dead letters.
    Operator,
    /// A call reaches the database.
    /// Its answer takes so long to come back, or is lost.
    Lands {
        from: Caller,
        query: Box<Query>,
        back_ms: Option<u64>,
    },
    /// Something reaches a process, if it still is this run of it.
    To {
        who: Who,
        run: u32,
        what: Happens,
    },
    /// The group of a service waits for its members.
    Group {
        service: usize,
        generation: u64,
    },
    /// A member has said nothing for the session time-out.
    Expired {
        who: Who,
        run: u32,
    },
    /// The next message of a producer for a partition reaches the broker.
    Arrives {
        producer: usize,
        partition: (shared::contract::topics::Topic, i32),
    },
    /// A call reaches the provider.
    Called {
        who: Who,
        run: u32,
        call: Call,
        task: Task,
    },
    Fault,
    Restart(Who),
}

#[derive(Debug)]
pub(super) enum Happens {
    /// There may be something to do.
    Turn,
    /// Time to look for due tasks.
    Tick,
    Answered {
        line: Line,
        answer: Result<Answer, ()>,
    },
    Retry,
    /// The consumer thread polls.
    Poll,
    Assigned {
        generation: u64,
        partitions: Vec<i32>,
    },
    /// The loop was fenced.
    AssignedAgain,
    /// The client hears that the group went on without it.
    Expelled,
    RelayTurn,
    Acked(Sent),
    ProducerFailed {
        producer: usize,
    },
    ProducerBuilt,
    Provider {
        command: payment::Command,
        task: Task,
    },
    Thawed,
}

pub(super) struct Env {
    pub(super) rng: SmallRng,
    pub(super) now_ms: u64,
    queue: BTreeMap<(u64, u64), Due>,
    sequence: u64,
    pub(super) broker: Broker,
    pub(super) faults: Faults,
    pub(super) bug: Option<Bug>,
    /// No more faults: what is broken comes back, and everything must come to its end.
    pub(super) calm: bool,
    /// One call in so many goes wrong.
    pub(super) trouble: u32,
    pub(super) steps: u64,
    /// Every call to a database is printed: `FULFIL_TRACE=1`, for one seed.
    pub(super) tells: bool,
}

impl Env {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let trouble = [15, 40, 200, 1_000][rng.random_range(0..4)];
        Self {
            rng,
            now_ms: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            broker: Broker::default(),
            faults: Faults::default(),
            bug,
            calm: false,
            trouble,
            steps: 0,
            tells: std::env::var_os("FULFIL_TRACE").is_some(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + std::time::Duration::from_millis(self.now_ms)
    }

    pub(super) fn at(&mut self, at_ms: u64, due: Due) {
        self.sequence += 1;
        self.queue.insert((at_ms.max(self.now_ms), self.sequence), due);
    }

    /// After a wait of up to so long.
    pub(super) fn within(&mut self, within_ms: u64, due: Due) {
        let wait_ms = self.rng.random_range(0..=within_ms);
        self.at(self.now_ms + wait_ms, due);
    }

    pub(super) fn pop(&mut self) -> Option<Due> {
        let ((at_ms, _), due) = self.queue.pop_first()?;
        self.now_ms = at_ms;
        self.steps += 1;
        Some(due)
    }

    pub(super) fn queue_is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether this goes wrong: one in so many, and nothing once it is calm.
    pub(super) fn unlucky(&mut self, one_in: u32) -> bool {
        !self.calm && self.rng.random_ratio(1, one_in)
    }

    /// How long something takes: mostly no time, sometimes much longer.
    pub(super) fn delay_ms(&mut self) -> u64 {
        match self.rng.random_range(0..100) {
            0 if !self.calm => self.rng.random_range(0..3_000),
            1..=5 => self.rng.random_range(0..200),
            _ => self.rng.random_range(0..4),
        }
    }
}

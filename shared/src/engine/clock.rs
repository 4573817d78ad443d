//! Now, by the database's clock as of the last append plus monotonic time: the clock of one machine that is wrong by
//! hours neither expires an order nor keeps one.

use std::time::Instant;

use chrono::SubsecRound;

use crate::contract::Timestamp;

#[derive(Clone, Copy)]
pub(super) struct Clock {
    database: Timestamp,
    at: Instant,
}

impl Clock {
    pub(super) fn new(database: Timestamp) -> Self {
        Self { database, at: Instant::now() }
    }

    /// In milliseconds, and never before a time that was said already.
    pub(super) fn now(&self) -> Timestamp {
        (self.database + self.at.elapsed()).trunc_subsecs(3)
    }

    pub(super) fn set(&mut self, database: Timestamp) {
        let now = self.now();
        *self = Self::new(database.max(now));
    }
}

//! Now by the database's clock: what it said last, and the monotonic time since. The host's clock may be wrong.

use std::time::Instant;

use shared::contract::Timestamp;

#[derive(Debug, Clone, Copy)]
pub struct Clock {
    said: Timestamp,
    at: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { said: Timestamp::UNIX_EPOCH, at: Instant::now() }
    }
}

impl Clock {
    pub fn set(&mut self, now: Timestamp) {
        *self = Self { said: now, at: Instant::now() };
    }

    /// Cut to milliseconds.
    pub fn now(&self) -> Timestamp {
        let now = self.said + self.at.elapsed();
        Timestamp::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
    }
}

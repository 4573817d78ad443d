//! When orders are due.

use std::time::Duration;

use crate::kafka::Rate;

/// Open loop with a rate: an order is sent when it is due, whatever became of those before it. Closed loop without:
/// as fast as they are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) orders: usize,
    pub(super) rate: Option<Rate>,
    /// Of a closed loop: orders that have not ended.
    pub(super) in_flight_max: usize,
}

impl Pace {
    pub(super) fn is_open(&self) -> bool {
        self.rate.is_some()
    }

    /// Since the run began. A closed loop has no due times: at once.
    pub(super) fn due(&self, number: usize) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| rate.after(number))
    }
}

//! The brake: when most of what comes is poison, it is us. Dead-lettering a whole topic would only make work, so
//! the group stops instead and tries again slowly.
//!
//! Source of the idea: arroyo's dead-letter limits.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

const WINDOW_MESSAGES: usize = 1_000;
/// Over this many of the window: stop.
const POISON_MAX: usize = WINDOW_MESSAGES / 2;
const STOP: Duration = Duration::from_secs(30);
/// After a stop, until the window is clean again.
pub const CAREFUL_BATCH: usize = 10;

#[derive(Default)]
pub struct Brake {
    window: VecDeque<bool>,
    poison: usize,
    /// Set until the window is clean again.
    until: Option<Instant>,
}

impl Brake {
    /// Counts messages; true when this put the brake on.
    pub fn count(&mut self, good: usize, poison: usize, now: Instant) -> bool {
        let outcomes = std::iter::repeat_n(true, poison).chain(std::iter::repeat_n(false, good));
        for is_poison in outcomes {
            self.poison += usize::from(is_poison);
            self.window.push_back(is_poison);
            if self.window.len() > WINDOW_MESSAGES && self.window.pop_front() == Some(true) {
                self.poison -= 1;
            }
        }
        if self.poison <= POISON_MAX {
            self.until = None;
            return false;
        }
        // Having tried again: what was poison before is no reason, only what is now.
        let is_worse = self.until.is_none() || poison > good;
        if !is_worse || self.on(now) {
            return false;
        }
        self.until = Some(now + STOP);
        true
    }

    /// Whether to take no message now.
    pub fn on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// For how much longer.
    pub fn left(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// How many messages to take at once.
    pub fn batch(&self, batch_max: usize) -> usize {
        if self.poison > POISON_MAX { CAREFUL_BATCH } else { batch_max }
    }

    /// An operator says that it is not us.
    pub fn lift(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_goes_on_over_half_poison_and_off_with_time_and_good_messages() {
        let start = Instant::now();
        let mut brake = Brake::default();
        assert!(!brake.count(400, 0, start));
        assert!(!brake.count(0, 500, start), "500 of the last 1,000 is not over half");
        assert!(brake.count(0, 1, start));
        assert!(brake.on(start) && !brake.on(start + STOP));
        assert_eq!(brake.batch(1_000), CAREFUL_BATCH);
        // Batches of commands and tasks have no message; good ones do not put it on again.
        assert!(!brake.count(0, 0, start + STOP) && !brake.count(10, 0, start + STOP));
        assert!(!brake.on(start + STOP));
        assert!(brake.count(4, 6, start + STOP), "mostly poison still");
        let later = start + STOP * 2;
        brake.count(600, 0, later);
        assert_eq!(brake.batch(1_000), 1_000);
        assert!(!brake.count(300, 0, later) && brake.count(0, 501, later), "and anew");
    }

    #[test]
    fn an_operator_lifts_the_brake() {
        let now = Instant::now();
        let mut brake = Brake::default();
        assert!(brake.count(0, 501, now));
        brake.lift();
        assert!(!brake.on(now));
    }
}

//! How soon after a batch the next one is taken. What a batch costs besides its messages (a commit, a request to the
//! broker, waking half a dozen threads) is most of what it costs at a low rate: batches of one, each begun as soon as it
//! can be, fill a machine that is then slow for all of them.
//!
//! So whoever has worked on a small batch rests as long before the next. A fast machine rests for a moment, a slow or busy
//! one until the batches are worth their cost; and a backlog makes batches that are large enough. The engine
//! does not rest before what somebody is known to wait for.

use std::time::{Duration, Instant};

/// Beyond so many messages a batch hardly costs more than they do.
pub const ENOUGH: usize = 200;
const REST_MAX: Duration = Duration::from_millis(20);

/// Of one loop.
#[derive(Debug)]
pub struct Pace {
    rested: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rested: Instant::now() }
    }
}

impl Pace {
    /// After a batch of so many messages.
    pub fn worked(&mut self, taken: usize, began: Instant) {
        self.worked_until(taken, began, Instant::now());
    }

    fn worked_until(&mut self, taken: usize, began: Instant, now: Instant) {
        let worked = now.duration_since(began);
        self.rested = if taken < ENOUGH { now + worked.min(REST_MAX) } else { now };
    }

    /// Until when to rest before the next batch.
    pub fn rested(&self) -> Instant {
        self.rested
    }

    /// Whether a batch of so many should wait for more.
    pub fn is_early(&self, waiting: usize) -> bool {
        (1..ENOUGH).contains(&waiting) && Instant::now() < self.rested
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest_after(taken: usize, worked: Duration) -> Duration {
        let (mut pace, began) = (Pace::default(), Instant::now());
        pace.worked_until(taken, began, began + worked);
        pace.rested() - (began + worked)
    }

    #[test]
    fn a_small_batch_is_rested_from_as_long_as_it_took_and_no_longer_than_a_person_notices() {
        let ms = Duration::from_millis;
        assert_eq!(rest_after(1, ms(3)), ms(3));
        assert_eq!(rest_after(199, ms(3)), ms(3));
        assert_eq!(rest_after(1, ms(3_000)), REST_MAX);
        assert_eq!(rest_after(ENOUGH, ms(300)), Duration::ZERO);
    }

    #[test]
    fn only_a_few_wait_for_more() {
        let mut pace = Pace::default();
        assert!(!pace.is_early(1), "nothing was done yet");
        pace.rested = Instant::now() + Duration::from_secs(60);
        assert!(pace.is_early(1) && !pace.is_early(0) && !pace.is_early(ENOUGH));
    }
}

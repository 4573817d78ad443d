//! Finish before you begin. Of a backlog of new work more is begun than is finished, since to begin is the first step and the
//! cheapest, until everything is half done: no cache holds it then, and all of it is late. So while much that was begun goes
//! on, the topics that begin more are left to wait.

use std::time::{Duration, Instant};

/// Streams that go on. Enough for full batches at every step.
const GOING_ON_MAX: usize = 2_000;
/// Begun again at this share of it: to hold a topic back throws away what was fetched of it.
const BEGUN_AGAIN_SHARE: usize = 2;
/// What has not ended by then waits for something outside, like a provider that is down, and nothing new waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Begun {
    /// So many of those that go on are not waited for.
    forgiven: usize,
    held_back: Option<Instant>,
}

impl Begun {
    /// Whether to begin nothing more, with so many streams going on.
    pub(super) fn is_enough(&mut self, going_on: usize, now: Instant) -> bool {
        self.forgiven = self.forgiven.min(going_on);
        let waited_for = going_on - self.forgiven;
        match self.held_back {
            None if waited_for >= GOING_ON_MAX => self.held_back = Some(now),
            Some(_) if waited_for <= GOING_ON_MAX / BEGUN_AGAIN_SHARE => self.held_back = None,
            Some(since) if now - since >= PATIENCE => {
                self.forgiven = going_on;
                self.held_back = None;
            }
            _ => {}
        }
        self.held_back.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_begun_from_the_most_that_may_go_on_until_half_of_it_has_ended() {
        let (mut begun, now) = (Begun::default(), Instant::now());
        assert!(!begun.is_enough(GOING_ON_MAX - 1, now));
        assert!(begun.is_enough(GOING_ON_MAX, now));
        assert!(begun.is_enough(GOING_ON_MAX / 2 + 1, now));
        assert!(!begun.is_enough(GOING_ON_MAX / 2, now));
        assert!(!begun.is_enough(GOING_ON_MAX - 1, now));
    }

    #[test]
    fn what_does_not_end_in_time_is_not_waited_for() {
        let (mut begun, now) = (Begun::default(), Instant::now());
        assert!(begun.is_enough(GOING_ON_MAX, now));
        assert!(begun.is_enough(GOING_ON_MAX, now + PATIENCE - Duration::from_millis(1)));
        let later = now + PATIENCE;
        assert!(!begun.is_enough(GOING_ON_MAX, later));
        assert!(!begun.is_enough(GOING_ON_MAX * 2 - 1, later), "these are begun beside it");
        assert!(begun.is_enough(GOING_ON_MAX * 2, later));
        // All that had not ended ends at last.
        assert!(!begun.is_enough(10, later));
        assert!(begun.is_enough(GOING_ON_MAX + 10, later), "few of them are left to be forgiven");
    }
}

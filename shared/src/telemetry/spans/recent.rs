//! The ids of messages that were drawn last: a message with one of them that makes nothing is a duplicate. A service keeps
//! no list of what it has read, so this is what there is to tell one by; what it forgets is drawn as if it came first.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

#[derive(Default)]
pub(super) struct Recent {
    known: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

/// Some minutes of a thousand messages a second, and a few megabytes.
const KEPT_MAX: usize = 50_000;

impl Recent {
    /// Whether it was seen before; from now on it was.
    pub(super) fn knows(&mut self, id: Uuid) -> bool {
        if !self.known.insert(id) {
            return true;
        }
        self.order.push_back(id);
        if self.order.len() > KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_until_too_many_have_come_after_it() {
        let mut recent = Recent::default();
        let id = |number: usize| Uuid::from_u128(number as u128);
        assert!(!recent.knows(id(0)));
        assert!((1..KEPT_MAX).all(|number| !recent.knows(id(number))));
        assert!(recent.knows(id(0)) && recent.order.len() == KEPT_MAX);
        assert!(!recent.knows(id(KEPT_MAX)));
        assert!(!recent.knows(id(0)), "the oldest is forgotten");
        assert_eq!(recent.known.len(), KEPT_MAX);
    }
}

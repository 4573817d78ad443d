//! Messages that kill the process. Partitions whose last runs took a message and did not live to finish one are
//! taken with care: one message at a time, each noted before it is even decoded. A message that several runs died
//! of becomes a dead letter unread.

use std::collections::{HashMap, HashSet};

use shared::{
    consumer::Place,
    failure::{ATTEMPTS_MAX, STARTS_MAX},
    log::{Attempt, StoredPosition},
};

#[derive(Debug, Clone, Default)]
pub struct Care {
    /// Partitions of which this run has said that it takes a message.
    begun: HashSet<Place>,
    /// With the message that was last taken alone.
    careful: HashMap<Place, Option<Attempt>>,
}

/// What to do before a message is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Nothing,
    CountStart,
    CountAttempt,
    /// The process died of it often enough.
    Bury,
}

impl Care {
    pub fn new(positions: &[StoredPosition]) -> Self {
        let careful = positions.iter().filter(|position| position.starts >= STARTS_MAX);
        Self {
            begun: HashSet::new(),
            careful: careful
                .map(|position| ((position.topic, position.partition), position.attempt))
                .collect(),
        }
    }

    /// Whether messages of this partition are taken alone.
    pub fn is_careful(&self, place: Place) -> bool {
        self.careful.contains_key(&place)
    }

    pub fn before(&self, place: Place, offset: i64) -> Before {
        match self.careful.get(&place) {
            Some(Some(attempt)) if attempt.offset == offset && attempt.attempts >= ATTEMPTS_MAX => {
                Before::Bury
            }
            Some(_) => Before::CountAttempt,
            None if self.begun.contains(&place) => Before::Nothing,
            None => Before::CountStart,
        }
    }

    pub fn begun(&mut self, place: Place) {
        self.begun.insert(place);
    }

    /// A message of it was finished, which also set its counts back.
    pub fn finished(&mut self, place: Place) {
        self.careful.remove(&place);
        self.begun.insert(place);
    }
}

#[cfg(test)]
mod tests {
    use shared::contract::topics::Topic;

    use super::*;

    const PLACE: Place = (Topic::OrdersEvents, 0);

    fn care(starts: i32, attempts: i32) -> Care {
        let (topic, partition) = PLACE;
        let attempt = Some(Attempt { offset: 7, attempts });
        Care::new(&[StoredPosition { topic, partition, next: Some(7), starts, attempt }])
    }

    #[test]
    fn a_partition_that_kills_is_taken_with_care_until_a_message_is_finished() {
        let mut healthy = care(2, 0);
        assert_eq!(healthy.before(PLACE, 7), Before::CountStart);
        healthy.begun(PLACE);
        assert_eq!(healthy.before(PLACE, 7), Before::Nothing);
        let mut deadly = care(3, 2);
        assert_eq!((deadly.is_careful(PLACE), deadly.before(PLACE, 7)), (true, Before::CountAttempt));
        assert_eq!(care(3, 3).before(PLACE, 7), Before::Bury);
        assert_eq!(care(3, 3).before(PLACE, 8), Before::CountAttempt);
        deadly.finished(PLACE);
        assert_eq!((deadly.is_careful(PLACE), deadly.before(PLACE, 8)), (false, Before::Nothing));
    }
}

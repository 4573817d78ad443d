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
    /// How many runs in a row had died of a partition when it was assigned.
    starts: HashMap<Place, i32>,
    /// Partitions of which this run has said that it takes a message. A rebalance is no death, so it stays.
    begun: HashSet<Place>,
    /// With the message that was last taken alone.
    careful: HashMap<Place, Option<Attempt>>,
}

/// What to do before a message is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// After so many runs that were counted.
    CountStart(i32),
    /// After so many attempts that were counted.
    CountAttempt(i32),
    /// The process died of it often enough.
    Bury,
}

impl Care {
    /// These partitions and no others are ours.
    pub fn assign(&mut self, positions: &[StoredPosition]) {
        let place = |position: &StoredPosition| (position.topic, position.partition);
        self.starts = positions.iter().map(|position| (place(position), position.starts)).collect();
        let careful = positions.iter().filter(|position| position.starts >= STARTS_MAX);
        self.careful = careful.map(|position| (place(position), position.attempt)).collect();
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
            Some(Some(attempt)) if attempt.offset == offset => Before::CountAttempt(attempt.attempts),
            Some(_) => Before::CountAttempt(0),
            None if self.begun.contains(&place) => Before::Nothing,
            None => Before::CountStart(self.starts.get(&place).copied().unwrap_or(0)),
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
        let mut care = Care::default();
        care.assign(&[StoredPosition { topic, partition, next: Some(7), starts, attempt }]);
        care
    }

    #[test]
    fn a_partition_that_kills_is_taken_with_care_until_a_message_is_finished() {
        let mut healthy = care(2, 0);
        assert_eq!(healthy.before(PLACE, 7), Before::CountStart(2));
        healthy.begun(PLACE);
        assert_eq!(healthy.before(PLACE, 7), Before::Nothing);
        // A rebalance is no death.
        healthy.assign(&[]);
        assert_eq!(healthy.before(PLACE, 7), Before::Nothing);
        let mut deadly = care(3, 2);
        assert_eq!((deadly.is_careful(PLACE), deadly.before(PLACE, 7)), (true, Before::CountAttempt(2)));
        assert_eq!(care(3, 3).before(PLACE, 7), Before::Bury);
        assert_eq!(care(3, 3).before(PLACE, 8), Before::CountAttempt(0));
        deadly.finished(PLACE);
        assert_eq!((deadly.is_careful(PLACE), deadly.before(PLACE, 8)), (false, Before::Nothing));
    }
}

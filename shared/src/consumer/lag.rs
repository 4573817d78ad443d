//! How far the group is behind, per partition, in messages and in seconds; and a partition that should move and does
//! not.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::warn;

use super::Place;
use crate::{
    contract::envelope::Raw,
    telemetry::{Metrics, metrics::PartitionLabel},
};

/// A partition with messages that moves nothing for so long is said.
const STUCK: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Lag {
    places: HashMap<Place, Seen>,
}

#[derive(Debug)]
struct Seen {
    next: i64,
    /// What waits is no older: log append time of the last message that was taken, or when nothing waited.
    timestamp_ms: i64,
    moved: Instant,
    said: bool,
}

impl Lag {
    pub fn taken(&mut self, raw: &Raw) {
        let seen =
            Seen { next: raw.offset + 1, timestamp_ms: raw.timestamp_ms, moved: Instant::now(), said: false };
        self.places.insert((raw.topic, raw.partition), seen);
    }

    /// The partitions are another's, or begin anew: their last numbers are nobody's.
    pub fn clear(&mut self, metrics: &Metrics) {
        for ((topic, partition), _) in self.places.drain() {
            let label = PartitionLabel::of(topic, partition);
            metrics.consumer_lag_messages.remove(&label);
            metrics.consumer_lag_seconds.remove(&label);
        }
    }

    /// Compares our positions with where the partitions end. Returns how long the oldest message has waited, in
    /// milliseconds, as far as can be known without having read it; 0 where nothing waits.
    pub fn show(
        &mut self,
        positions: impl Iterator<Item = (Place, Option<i64>)>,
        ends: &HashMap<Place, i64>,
        now_ms: i64,
        metrics: &Metrics,
    ) -> i64 {
        let mut longest_ms = 0;
        for (place, next) in positions {
            let Some(end) = ends.get(&place) else { continue };
            let seen = self.places.entry(place).or_insert_with(|| Seen {
                next: next.unwrap_or_default(),
                timestamp_ms: now_ms,
                moved: Instant::now(),
                said: false,
            });
            let behind = (end - next.unwrap_or_default().max(seen.next)).max(0);
            if behind == 0 {
                seen.timestamp_ms = now_ms;
            }
            let waited_ms = (now_ms - seen.timestamp_ms).max(0);
            longest_ms = longest_ms.max(waited_ms);
            let label = PartitionLabel::of(place.0, place.1);
            metrics.consumer_lag_messages.get_or_create(&label).set(behind);
            metrics.consumer_lag_seconds.get_or_create(&label).set(waited_ms as f64 / 1_000.0);
            if behind == 0 {
                seen.moved = Instant::now();
            } else if seen.moved.elapsed() > STUCK && !seen.said {
                seen.said = true;
                warn!(topic = place.0.name(), partition = place.1, behind, "a partition does not move");
            }
        }
        longest_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{envelope::Headers, topics::Topic};

    const PLACE: Place = (Topic::OrdersEvents, 0);

    fn message(offset: i64, timestamp_ms: i64) -> Raw {
        let (topic, partition) = PLACE;
        let headers = Headers::Readable(vec![]);
        Raw { topic, partition, offset, key: None, value: None, headers, timestamp_ms }
    }

    #[test]
    fn what_waits_has_waited_since_something_was_taken_or_nothing_waited() {
        let (mut lag, metrics) = (Lag::default(), Metrics::new("test", "test"));
        let show = |lag: &mut Lag, next, end, now_ms| {
            lag.show([(PLACE, Some(next))].into_iter(), &HashMap::from([(PLACE, end)]), now_ms, &metrics)
        };
        lag.taken(&message(4, 1_000));
        assert_eq!(show(&mut lag, 5, 5, 5_000), 0);
        // One came, and nobody takes it.
        assert_eq!(show(&mut lag, 5, 6, 9_000), 4_000);
        // Of a backlog the age of what was taken last counts.
        lag.taken(&message(5, 8_000));
        assert_eq!(show(&mut lag, 6, 9, 9_500), 1_500);
    }
}

//! How far the group is behind, per partition, in messages and in seconds; and a partition that should move and does
//! not.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::warn;

use crate::{
    consumer::Place,
    contract::envelope::Raw,
    telemetry::{Metrics, metrics::PartitionLabel},
};

/// A partition with messages that moves nothing for so long is said.
const STUCK: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Lag {
    places: HashMap<Place, Seen>,
}

struct Seen {
    next: i64,
    /// Log append time of the last message that was taken.
    timestamp_ms: i64,
    moved: Instant,
    said: bool,
}

impl Lag {
    pub(super) fn taken(&mut self, raw: &Raw) {
        let seen =
            Seen { next: raw.offset + 1, timestamp_ms: raw.timestamp_ms, moved: Instant::now(), said: false };
        self.places.insert((raw.topic, raw.partition), seen);
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
    }

    /// Compares our positions with where the partitions end.
    pub(super) fn show(
        &mut self,
        positions: impl Iterator<Item = (Place, Option<i64>)>,
        ends: &HashMap<Place, i64>,
        now_ms: i64,
        metrics: &Metrics,
    ) {
        for (place, next) in positions {
            let Some(end) = ends.get(&place) else { continue };
            let seen = self.places.entry(place).or_insert_with(|| Seen {
                next: next.unwrap_or_default(),
                timestamp_ms: now_ms,
                moved: Instant::now(),
                said: false,
            });
            let behind = (end - next.unwrap_or_default().max(seen.next)).max(0);
            let seconds =
                if behind == 0 { 0.0 } else { (now_ms - seen.timestamp_ms).max(0) as f64 / 1_000.0 };
            let label = PartitionLabel::of(place.0, place.1);
            metrics.consumer_lag_messages.get_or_create(&label).set(behind);
            metrics.consumer_lag_seconds.get_or_create(&label).set(seconds);
            if behind == 0 {
                seen.moved = Instant::now();
            } else if seen.moved.elapsed() > STUCK && !seen.said {
                seen.said = true;
                warn!(topic = place.0.name(), partition = place.1, behind, "a partition does not move");
            }
        }
    }
}

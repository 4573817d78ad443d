//! How soon orders end again.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use shared::contract::topics::partition_of;
use tokio::time::sleep;

use super::System;

/// Not a target but the sign that something stands still for good.
const STANDSTILL: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);
const PARTITIONS: i32 = 4;

#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// Until the first order ended after the fault had.
    pub first: Duration,
    /// Until one had ended on every partition, so that each replica's share is at work again.
    pub everywhere: Duration,
}

impl System {
    /// From the end of a fault; orders that ended before it do not count.
    ///
    /// # Panics
    /// Where no order of some partition ends for a minute and a half.
    pub async fn recovered(&self, ended: Instant) -> Recovery {
        let before = self.seen.ended_after(0).len();
        let (mut first, mut partitions) = (None, BTreeSet::new());
        loop {
            for order in self.seen.ended_after(before) {
                first.get_or_insert_with(|| ended.elapsed());
                partitions.insert(partition_of(order.to_string().as_bytes(), PARTITIONS));
            }
            if let Some(first) = first
                && partitions.len() as i32 == PARTITIONS
            {
                return Recovery { first, everywhere: ended.elapsed() };
            }
            let waited = ended.elapsed();
            assert!(waited < STANDSTILL, "{waited:?} after the fault orders end only on {partitions:?}");
            sleep(POLL).await;
        }
    }
}

//! How soon orders end again.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use chrono::Utc;
use shared::contract::topics::partition_of;
use tokio::time::sleep;
use uuid::Uuid;

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
    /// From the end of a fault; orders that ended before now do not count.
    ///
    /// # Panics
    /// Where no order of some partition ends for a minute and a half from now.
    pub async fn recovered(&self, ended: Instant) -> Recovery {
        self.recovery(ended, |_| true).await
    }

    /// The same of orders of which nothing was published before the fault: of the others a replica that is dead for good may
    /// have done its part before.
    ///
    /// # Panics
    /// As [`System::recovered`].
    pub async fn taken_over(&self, ended: Instant) -> Recovery {
        let since_ms = Utc::now().timestamp_millis() - ended.elapsed().as_millis() as i64;
        let is_new = |order: &Uuid| self.seen.story(*order).first().is_some_and(|told| told.at_ms > since_ms);
        self.recovery(ended, is_new).await
    }

    async fn recovery(&self, ended: Instant, counts: impl Fn(&Uuid) -> bool) -> Recovery {
        let begun = Instant::now();
        let before = self.seen.ended_after(0).len();
        let (mut first, mut partitions) = (None, BTreeSet::new());
        loop {
            for order in self.seen.ended_after(before).into_iter().filter(&counts) {
                first.get_or_insert_with(|| ended.elapsed());
                partitions.insert(partition_of(order.to_string().as_bytes(), PARTITIONS));
            }
            if let Some(first) = first
                && partitions.len() as i32 == PARTITIONS
            {
                return Recovery { first, everywhere: ended.elapsed() };
            }
            let waited = begun.elapsed();
            assert!(waited < STANDSTILL, "after {waited:?} orders end only on {partitions:?}");
            sleep(POLL).await;
        }
    }
}

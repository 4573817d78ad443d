//! Round after round, one partition after the other, as long as the process lives.

use std::time::Duration;

use anyhow::Context;
use shared::{broker::topics::partition_count, shutdown::Shutdown};
use tokio::time::sleep;
use tracing::{debug, error, warn};
use uuid::Uuid;

use super::{Checked, Drift};

/// Between two rounds, also after one that came to nothing.
const PAUSE: Duration = Duration::from_secs(30);
/// Fewer messages of orders.events are walked from the beginning.
const PART_MESSAGES_MIN: i64 = 5_000;

/// Runs until shutdown is requested, or at once where nothing is to be compared.
pub async fn run(drift: Drift, shutdown: Shutdown) {
    if drift.rate == 0 {
        return;
    }
    // Anywhere, so that a process that does not live long is not always at the same ones.
    let mut partition = i32::try_from(Uuid::now_v7().as_u128() % 1_024).unwrap_or_default();
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            () = sleep(PAUSE) => {}
        }
        match round(&drift, &mut partition, &shutdown).await {
            Ok(Some(checked)) => tell(&checked),
            Ok(None) => {}
            // It is tried again, and whoever serves tells where servers are away.
            Err(error) => warn!("orders could not be compared with their topics: {error:#}"),
        }
    }
}

async fn round(drift: &Drift, partition: &mut i32, shutdown: &Shutdown) -> anyhow::Result<Option<Checked>> {
    let partitions = partition_count(&drift.broker).await.context("asking how many partitions there are")?;
    *partition = (*partition + 1) % partitions.max(1);
    let begin = somewhere(drift.end(*partition).await?, Uuid::now_v7().as_u128());
    drift.check(*partition, begin, shutdown).await
}

/// With the last half, quarter, eighth … of a topic that ends there, or all of it, each as often by chance: the whole takes hours
/// where there are many, and what was made last is not to wait for that.
fn somewhere(end: i64, chance: u128) -> i64 {
    let halvings_max = (end / PART_MESSAGES_MIN).checked_ilog2().unwrap_or(0);
    let halvings = u32::try_from(chance % (u128::from(halvings_max) + 1)).unwrap_or(0);
    end - (end >> halvings)
}

fn tell(checked: &Checked) {
    debug!(orders = checked.compared.len(), different = checked.different.len(), "compared with the topics");
    for drifted in &checked.different {
        let (order_id, what) = (drifted.order_id, &drifted.what);
        error!(%order_id, what, "the view says something else of an order than its topics: rebuild the view");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_begun_with_as_often_and_what_is_small_with_its_beginning() {
        assert!((0..10).all(|chance| somewhere(2 * PART_MESSAGES_MIN - 1, chance) == 0));
        let end = PART_MESSAGES_MIN * 8;
        let begun: Vec<i64> = (0..5).map(|chance| end - somewhere(end, chance)).collect();
        assert_eq!(begun, [end, end / 2, end / 4, end / 8, end]);
        assert_eq!(somewhere(0, 3), 0);
    }
}

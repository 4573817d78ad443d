//! Round after round, one partition after the other, as long as the process lives.

use std::time::Duration;

use anyhow::Context;
use shared::{broker::topics::partition_count, shutdown::Shutdown};
use tokio::time::sleep;
use tracing::{debug, error, warn};
use uuid::Uuid;

use super::{Begin, Checked, Drift};

/// Between two rounds, also after one that came to nothing.
const PAUSE: Duration = Duration::from_secs(30);

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
    drift.check(*partition, Begin::Anywhere, shutdown).await
}

fn tell(checked: &Checked) {
    debug!(orders = checked.compared.len(), different = checked.different.len(), "compared with the topics");
    for drifted in &checked.different {
        let (order_id, what) = (drifted.order_id, &drifted.what);
        error!(%order_id, what, "the view says something else of an order than its topics: rebuild the view");
    }
}

//! What people see of the process from outside: how far it is behind, whether its relay goes on, and which orders have not
//! ended.

use std::{collections::HashMap, time::Duration};

use shared::{
    contract::Timestamp,
    http::Readiness,
    log::{self, StoreError},
    process,
    relay::RelayHandle,
    shutdown::Shutdown,
    telemetry::{Metrics, metrics::StageLabel},
};
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::{
    project::lag::Lag,
    read_model::{
        drift,
        open_orders::{self, OpenOrders},
        query::{self, Read},
        reads::Reads,
    },
    view::{
        awaiting::Limits,
        order::{OPEN, OrderRow},
    },
};

const EVERY: Duration = Duration::from_secs(1);
/// Orders are counted in the database, and what is overdue is so for minutes.
const ORDERS_EVERY: Duration = Duration::from_secs(15);
/// Of each stage the oldest. Where more are overdue it is not their number that matters.
const OVERDUE_MAX: i64 = 1_000;

pub async fn process(
    lag: Lag,
    relay: RelayHandle,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: Shutdown,
) {
    let mut ticks = interval(EVERY);
    while !shutdown.is_requested() {
        ticks.tick().await;
        let lag_ms = lag.ms(Timestamp::from(std::time::SystemTime::now()));
        metrics.view_lag_seconds.set(lag_ms as f64 / 1_000.0);
        process::watch_relay(&readiness, relay.state());
    }
}

/// Every replica shows the whole view, not only its partitions.
pub async fn orders(reads: Reads, limits: Limits, metrics: Metrics, shutdown: Shutdown) {
    let mut ticks = interval(ORDERS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.requested() => return,
        }
        // What was seen last stays; that the database is away is told by whoever commits there.
        if let Err(error) = log::answered(count(&reads, &limits, &metrics)).await {
            debug!(%error, "the open orders could not be counted");
        }
    }
}

/// Once.
pub async fn count(reads: &Reads, limits: &Limits, metrics: &Metrics) -> Result<(), StoreError> {
    let mut connection = reads.take().await?;
    let counts: HashMap<String, i64> = query::count(&mut connection, &OPEN).await?.into_iter().collect();
    let (mut open_of_all, mut overdue) = (0, 0);
    for stage in OPEN {
        let open = counts.get(stage).copied().unwrap_or_default();
        metrics.saga_open.get_or_create(&StageLabel { stage }).set(open);
        open_of_all += open;
        let oldest = query::oldest(&mut connection, stage, OVERDUE_MAX).await?;
        let is_overdue = |read: &&Read<OrderRow>| {
            read.row.order.state.as_ref().is_some_and(|order| limits.is_overdue(order, read.now))
        };
        overdue += oldest.iter().filter(is_overdue).count();
    }
    let overdue = overdue as i64;
    metrics.saga_overdue.set(overdue);
    open_orders::note(&mut connection, OpenOrders { open: open_of_all, overdue }).await?;
    metrics.view_drift_orders.set(drift::found(&mut connection).await?.len() as i64);
    Ok(())
}

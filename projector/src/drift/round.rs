//! One round: a sample of the orders of one partition, from the topics and from the view.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Map, Value};
use shared::{
    broker::BrokerSettings,
    contract::{Timestamp, envelope::Mode, ids::OrderId, topics::Topic},
    log,
    shutdown::Shutdown,
    telemetry::Metrics,
};
use sqlx::PgConnection;
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    sample::{Folded, Sample},
    walk::{Places, Walk},
};
use crate::{
    project::lag::Lag,
    read_model::{
        drift::{self, Drifted, Shown},
        schema::{self, SERVED},
    },
    view::source::Source,
};

/// How often messages are taken.
const STEP: Duration = Duration::from_millis(100);
/// While the view is further behind than that, it goes first.
const LAG_MAX_MS: i64 = 500;
const LAG_PAUSE: Duration = Duration::from_millis(500);

/// What a round needs.
#[derive(Clone)]
pub struct Drift {
    pub database_url: String,
    pub broker: BrokerSettings,
    pub mode: Mode,
    /// Of the view that serves.
    pub lag: Lag,
    /// Messages a second, at most.
    pub rate: u32,
    pub metrics: Metrics,
}

/// What came of a round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checked {
    pub compared: Vec<OrderId>,
    pub different: Vec<Drifted>,
}

impl Drift {
    /// Where the view stands in a partition of orders.events.
    pub async fn end(&self, partition: i32) -> anyhow::Result<i64> {
        let mut connection = schema::connection(&self.database_url, "projector-drift", SERVED).await?;
        let ends = log::answered(drift::ends(&mut connection, partition)).await?;
        Ok(ends.get(&Topic::OrdersEvents).copied().unwrap_or(0))
    }

    /// Compares some orders of a partition, from an offset of orders.events on (0: of the whole), and remembers what differs.
    /// `None` where another one does, nothing can be compared, or the process stops.
    pub async fn check(
        &self,
        partition: i32,
        begin: i64,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Option<Checked>> {
        let mut connection = schema::connection(&self.database_url, "projector-drift", SERVED).await?;
        if !log::answered(drift::lock(&mut connection)).await? {
            return Ok(None);
        }
        let checked = self.compare(&mut connection, partition, begin, shutdown).await?;
        // Where the session ends without it, the server gives the lock back a moment later.
        log::answered(drift::unlock(&mut connection)).await?;
        Ok(checked)
    }

    /// The lock is that of `connection`.
    async fn compare(
        &self,
        connection: &mut PgConnection,
        partition: i32,
        begin: i64,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Option<Checked>> {
        let known = log::answered(drift::found(connection)).await?;
        let always: BTreeSet<OrderId> = known.into_iter().map(|drifted| drifted.order_id).collect();
        let ends = log::answered(drift::ends(connection, partition)).await?;
        let (broker, mode) = (self.broker.clone(), self.mode);
        let sample = Sample::new(Uuid::now_v7(), always);
        let to = ends.clone();
        let begun = blocking(move || Walk::begin(&broker, partition, mode, begin, &to, sample)).await?;
        let Some(walk) = begun else { return Ok(None) };
        let Some(mut walk) = self.walk(walk, ends, shutdown).await? else { return Ok(None) };
        walk.sample.close();
        // Rows and places are of one moment, and from here on it is only as far as there.
        let ids: Vec<OrderId> = walk.sample.orders().keys().copied().collect();
        let (ends, shown) = log::answered(drift::shown(connection, partition, &ids)).await?;
        let Some(walk) = self.walk(walk, ends, shutdown).await? else { return Ok(None) };
        let checked = compared(&walk.sample, &shown);
        log::answered(drift::record(connection, shown.view, &checked.compared, &checked.different)).await?;
        self.metrics.view_compared.inc_by(checked.compared.len() as u64);
        self.metrics.view_drift.inc_by(checked.different.len() as u64);
        Ok(Some(checked))
    }

    /// Slowly. `None` where the view went back behind it, or the process stops.
    async fn walk(&self, mut walk: Walk, to: Places, shutdown: &Shutdown) -> anyhow::Result<Option<Walk>> {
        if !walk.go_on(to)? {
            return Ok(None);
        }
        let messages_max = usize::try_from(self.rate / 10).unwrap_or(usize::MAX).max(1);
        while !walk.is_there() {
            if shutdown.is_requested() {
                return Ok(None);
            }
            if self.lag.ms(Timestamp::from(std::time::SystemTime::now())) > LAG_MAX_MS {
                sleep(LAG_PAUSE).await;
                continue;
            }
            let step = async {
                blocking(move || {
                    walk.step(messages_max, STEP)?;
                    Ok(walk)
                })
                .await
            };
            let (stepped, ()) = tokio::join!(step, sleep(STEP));
            walk = stepped?;
        }
        Ok(Some(walk))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("reading the topics again")?
}

/// What died or waits is left out: the view says of it less than the topics do, and another screen says why.
fn compared(sample: &Sample, shown: &Shown) -> Checked {
    let mut checked = Checked::default();
    for (id, folded) in sample.orders() {
        let row = shown.rows.get(id);
        if folded.is_odd
            || shown.waiting.contains(id)
            || row.is_some_and(|row| row.foreign)
            || folded.row.foreign
        {
            continue;
        }
        checked.compared.push(*id);
        let what = different(folded, shown, *id);
        if !what.is_empty() {
            checked.different.push(Drifted { order_id: *id, found_at: shown.at, what: what.join("; ") });
        }
    }
    checked
}

/// In words.
fn different(folded: &Folded, shown: &Shown, id: OrderId) -> Vec<String> {
    // An order of which only foreign events tell has no row.
    let Some(row) = shown.rows.get(&id) else {
        return if folded.events > 0 { vec!["the view has no such order".to_owned()] } else { Vec::new() };
    };
    let mut what = Vec::new();
    what.extend(of_source("order", &row.order, &folded.row.order));
    what.extend(of_source("reservation", &row.reservation, &folded.row.reservation));
    what.extend(of_source("payment", &row.payment, &folded.row.payment));
    let events = shown.events.get(&id).copied().unwrap_or(0);
    if events != folded.events {
        what.push(format!("its timeline has {events} events, the topics {}", folded.events));
    }
    what
}

fn of_source<S: PartialEq + Serialize>(name: &str, view: &Source<S>, topics: &Source<S>) -> Option<String> {
    if view.version != topics.version {
        return Some(format!("{name} is at version {}, on the topics at {}", view.version, topics.version));
    }
    let differ = || {
        format!(
            "{name} at version {}: {} differ from the topics",
            view.version,
            parts(view, topics).join(", ")
        )
    };
    (view != topics).then(differ)
}

/// The names of what differs.
fn parts<S: Serialize>(view: &Source<S>, topics: &Source<S>) -> Vec<String> {
    let state = |source: &Source<S>| serde_json::to_value(&source.state).unwrap_or_default();
    let (here, there) = (state(view), state(topics));
    let fields = [&here, &there].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
    let fields: BTreeSet<&String> = fields.filter(|name| here.get(name) != there.get(name)).collect();
    let time = (view.at != topics.at).then(|| "time".to_owned());
    fields.into_iter().cloned().chain(time).collect()
}

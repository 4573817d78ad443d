//! One run of the product, as far as anything here asks: part of the object that `fulfil load run --json` prints.

use std::collections::BTreeMap;

use cli::load::{Cpu, Latency};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) orders: Orders,
    /// Ended and in the view, until the last was.
    pub(crate) orders_per_s: f64,
    /// Over HTTP: sent and answered, taken or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offered_per_s: Option<f64>,
    /// Of those that were taken, from when each was due until it was in the view.
    #[serde(flatten)]
    pub(crate) latency: Latency,
    /// To the answer of `POST /orders`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Latency>,
    pub(crate) cpu_s_per_1000: Cpu,
    pub(crate) rss_mb: f64,
    pub(crate) rss_mb_by_service: BTreeMap<String, f64>,
    pub(crate) bytes_per_order: BTreeMap<String, f64>,
    pub(crate) durability: Durability,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) sent: usize,
    pub(crate) accepted: usize,
    /// 503.
    pub(crate) busy: usize,
    pub(crate) unanswered: usize,
    pub(crate) completed: usize,
    pub(crate) completed_in_view: usize,
}

/// As the servers say themselves; `acks` as the services' client is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Durability {
    pub(crate) fsync: String,
    pub(crate) synchronous_commit: BTreeMap<String, String>,
    pub(crate) acks: String,
}

impl Run {
    /// Seconds per 1,000 orders of all three, the generator's left out.
    pub(crate) fn cpu(&self) -> f64 {
        together(&self.cpu_s_per_1000)
    }

    /// The databases that are written by deciding, so not the view, which can be made again.
    pub(crate) fn bytes_written(&self) -> f64 {
        let databases = self.bytes_per_order.iter();
        databases.filter(|(name, _)| *name != "topics" && *name != "projector").map(|(_, bytes)| bytes).sum()
    }
}

pub(crate) fn together(cpu: &Cpu) -> f64 {
    cpu.app + cpu.kafka + cpu.postgres
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

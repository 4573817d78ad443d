//! All that the sweeps measured, as it is kept in `benchmarks/results.json`. The page and its plots are drawn from
//! this and nothing else.

use std::{fs, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    backlog::Backlog,
    floor::Figures,
    machine::Machine,
    restart::Restart,
    round::Rounds,
    run::{Run, median},
};

const FILE: &str = "benchmarks/results.json";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) command: String,
    pub(crate) began: String,
    pub(crate) minutes: f64,
    pub(crate) commit: String,
    pub(crate) machine: Machine,
    /// Of the paced rounds, a second.
    pub(crate) paced_rate: f64,
    pub(crate) rounds: Rounds,
    pub(crate) half: Paced,
    pub(crate) http: Paced,
    pub(crate) load: LoadSweep,
    pub(crate) log: LogSweep,
    /// Of those logs, at their end.
    pub(crate) rebuilt: Option<Rebuilt>,
    #[serde(default)]
    pub(crate) restarts: Vec<Restart>,
    pub(crate) backlog: Option<Backlog>,
    pub(crate) ratios: Vec<Ratio>,
    /// Of the runs with two replicas, after the group was settled.
    pub(crate) fenced_batches: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Paced {
    /// Asked for, orders a second.
    pub(crate) rate: f64,
    pub(crate) run: Run,
}

/// Over HTTP.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LoadSweep {
    /// A closed loop: as fast as orders are taken. Rates are shares of what it came to.
    pub(crate) saturated: Run,
    pub(crate) steps: Vec<LoadStep>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LoadStep {
    pub(crate) share: f64,
    #[serde(flatten)]
    pub(crate) paced: Paced,
}

/// One system, whose logs grow from step to step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LogSweep {
    pub(crate) paced_rate: f64,
    pub(crate) steps: Vec<LogStep>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LogStep {
    /// In the log when the saturated run began.
    pub(crate) orders_before: usize,
    /// Of seven events and as many orders, right before the saturated run. It begins with empty logs each time.
    pub(crate) floor: Option<Figures>,
    pub(crate) saturated: Run,
    pub(crate) paced: Run,
}

/// The view made anew from the topics' beginning, with its indexes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Rebuilt {
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
}

/// The same with one thing changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) change: Change,
    pub(crate) baseline: Vec<Run>,
    pub(crate) changed: Vec<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    HotSku,
    TwoReplicas,
    TenfoldSkus,
    TenfoldLines,
}

impl Results {
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let text = fs::read(&path).with_context(|| format!("no {}: make bench-sweeps", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(FILE);
        fs::create_dir_all(path.parent().context("it has a folder")?)?;
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }

    /// Median over the saturated rounds.
    pub(crate) fn saturated(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.rounds.saturated.iter().map(|round| of(&round.ours)))
    }

    /// Median over the paced rounds.
    pub(crate) fn paced(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.rounds.paced.iter().map(|round| of(&round.ours)))
    }

    /// Whatever the load.
    pub(crate) fn of_one_replica(&self) -> impl Iterator<Item = &Run> {
        let rounds = self.rounds.saturated.iter().chain(&self.rounds.paced).map(|round| &round.ours);
        let paced = [&self.half.run, &self.http.run, &self.load.saturated].into_iter();
        let load = self.load.steps.iter().map(|step| &step.paced.run);
        let log = self.log.steps.iter().flat_map(|step| [&step.saturated, &step.paced]);
        let shape = self.ratios.iter().flat_map(|ratio| {
            let changed: &[Run] = if ratio.change == Change::TwoReplicas { &[] } else { &ratio.changed };
            ratio.baseline.iter().chain(changed)
        });
        rounds.chain(paced).chain(load).chain(log).chain(shape)
    }
}

impl LoadStep {
    /// Of all that were sent, those that were not taken: 503, or no answer.
    pub(crate) fn refused(&self) -> f64 {
        let orders = self.paced.run.orders;
        (orders.busy + orders.unanswered) as f64 / orders.sent.max(1) as f64
    }
}

impl LogStep {
    /// In the middle of the saturated run.
    pub(crate) fn size(&self) -> f64 {
        self.orders_before as f64 + self.saturated.orders.completed as f64 / 2.0
    }

    /// The saturated run's share of its floor's orders/s.
    pub(crate) fn of_floor(&self) -> Option<f64> {
        let floor = self.floor.as_ref()?;
        Some(self.saturated.orders_per_s / floor.orders_per_s)
    }
}

impl Ratio {
    /// Of the changed to the baseline: median over the pairs.
    pub(crate) fn value(&self) -> f64 {
        let pairs = self.baseline.iter().zip(&self.changed);
        median(pairs.map(|(before, after)| {
            self.change.figure(after) / self.change.figure(before) / self.change.work()
        }))
    }

    pub(crate) fn medians(&self) -> (f64, f64) {
        let of = |runs: &[Run]| median(runs.iter().map(|run| self.change.figure(run)));
        (of(&self.baseline), of(&self.changed))
    }
}

impl Change {
    pub(crate) const LINES: usize = 10;
    pub(crate) const SKUS: usize = 1_000;

    /// Throughput where the work is the same, else what an order costs.
    pub(crate) fn is_throughput(self) -> bool {
        matches!(self, Self::HotSku | Self::TwoReplicas)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HotSku => "90 % of the orders want one sku",
            Self::TwoReplicas => "2 replicas of each service",
            Self::TenfoldSkus => "1,000 skus instead of 100",
            Self::TenfoldLines => "10 lines an order instead of 1, by line",
        }
    }

    /// Of `fulfil load run`.
    pub(crate) fn arguments(self) -> Vec<String> {
        let [name, value] = match self {
            Self::HotSku => ["--hot-share".to_owned(), "0.9".to_owned()],
            Self::TwoReplicas => return Vec::new(),
            Self::TenfoldSkus => ["--skus".to_owned(), Self::SKUS.to_string()],
            Self::TenfoldLines => ["--lines".to_owned(), Self::LINES.to_string()],
        };
        vec![name, value]
    }

    fn figure(self, run: &Run) -> f64 {
        if self.is_throughput() { run.orders_per_s } else { run.cpu() }
    }

    /// Units of it in a changed order.
    fn work(self) -> f64 {
        if self == Self::TenfoldLines { Self::LINES as f64 } else { 1.0 }
    }
}

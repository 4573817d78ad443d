//! Everything in turn: the rounds, what becomes of them as load, log, skus, lines and replicas grow, and how services start
//! with a long log and a long queue.

use std::{path::Path, time::Instant};

use chrono::Utc;
use clap::Args;

use crate::{
    backlog::{self, Backlog},
    floor::{self, Floor, Story},
    machine::{Machine, commit},
    product::Product,
    restart::{self, Restart},
    results::{Change, LoadStep, LoadSweep, LogStep, LogSweep, Paced, Ratio, Results},
    round::{self, Amount, Rounds},
    run::{Run, median},
    table,
};

/// Of the target for the answer of `POST /orders`, a second.
const HTTP_RATE: f64 = 500.0;
/// Of the saturated rate: the load under which p50 is compared as the log grows.
const MODERATE: f64 = 0.25;

#[derive(Clone, Debug, Args)]
pub(crate) struct Extent {
    /// Rates over HTTP, as shares of what is taken at most
    #[arg(long, value_delimiter = ',', default_value = "0.1,0.25,0.5,0.75,0.9,1,1.5,2,3")]
    load_shares: Vec<f64>,
    /// How long each of them lasts
    #[arg(long, default_value_t = 10)]
    load_seconds: usize,
    /// Saturated runs in one system, whose logs grow
    #[arg(long, default_value_t = 10)]
    log_runs: usize,
    /// Orders of each of them
    #[arg(long, default_value_t = 20_000)]
    log_orders: usize,
    /// How long the paced run after each of them lasts
    #[arg(long, default_value_t = 5)]
    log_seconds: usize,
    /// Events in the log of order-service when all services are restarted (0: they are not)
    #[arg(long, default_value_t = 5_000_000)]
    restart_events: u32,
    /// Orders that are on the topic when the services begin (0: they do not)
    #[arg(long, default_value_t = 1_000_000)]
    backlog_orders: u32,
    /// How long their memory is looked at while they work at it
    #[arg(long, default_value_t = 60)]
    backlog_seconds: u64,
}

pub(crate) async fn sweep(
    dir: &Path,
    amount: Amount,
    extent: &Extent,
    command: String,
) -> anyhow::Result<Results> {
    let (began, clock, commit, machine) = (Utc::now(), Instant::now(), commit()?, Machine::here()?);
    let (rounds, half, http, load) = Product::with(dir, async |product| {
        let rounds = round::measure(product, amount).await?;
        let half = paced(product, 0.5 * saturated_rate(&rounds), extent.load_seconds, &[]).await?;
        table::tell_run("half", &half.run);
        let http = paced(product, HTTP_RATE, extent.load_seconds, &["--via", "http"]).await?;
        table::tell_run("http", &http.run);
        Ok((rounds, half, http, load_sweep(product, amount.orders, extent).await?))
    })
    .await?;
    let moderate = (MODERATE * saturated_rate(&rounds)).round().max(1.0);
    let (log, rebuilt) = Product::with(dir, async |product| {
        Ok((log_sweep(product, moderate, extent).await?, product.rebuild().await?))
    })
    .await?;
    let restarts = restarts(dir, amount.runs, extent).await?;
    let backlog = backlog(dir, extent).await?;
    let (ratios, fenced_batches) = Product::with(dir, async |product| ratios(product, amount).await).await?;
    Ok(Results {
        command,
        began: began.format("%Y-%m-%d %H:%M UTC").to_string(),
        minutes: clock.elapsed().as_secs_f64() / 60.0,
        commit,
        machine,
        paced_rate: amount.rate,
        rounds,
        half,
        http,
        load,
        log,
        rebuilt: Some(rebuilt),
        restarts,
        backlog,
        ratios,
        fenced_batches,
    })
}

pub(crate) async fn restarts(dir: &Path, runs: usize, extent: &Extent) -> anyhow::Result<Vec<Restart>> {
    let events = i64::from(extent.restart_events);
    if events == 0 {
        return Ok(Vec::new());
    }
    Product::with(dir, async |product| restart::measure(product, runs, events).await).await
}

pub(crate) async fn backlog(dir: &Path, extent: &Extent) -> anyhow::Result<Option<Backlog>> {
    let (orders, seconds) = (extent.backlog_orders as usize, extent.backlog_seconds);
    if orders == 0 {
        return Ok(None);
    }
    Product::with(dir, async |product| Ok(Some(backlog::measure(product, orders, seconds).await?))).await
}

fn saturated_rate(rounds: &Rounds) -> f64 {
    median(rounds.saturated.iter().map(|round| round.ours.orders_per_s))
}

/// An open loop. It may be more than is taken.
async fn paced(product: &Product, rate: f64, seconds: usize, more: &[&str]) -> anyhow::Result<Paced> {
    let rate = rate.round().max(1.0);
    let (each, duration) = (format!("{rate}/s"), format!("{seconds}s"));
    let arguments = [&["--rate", each.as_str(), "--duration", duration.as_str()], more].concat();
    Ok(Paced { rate, run: product.overload(&arguments).await? })
}

async fn load_sweep(product: &Product, orders: usize, extent: &Extent) -> anyhow::Result<LoadSweep> {
    let saturated = product.load(&["--orders", &orders.to_string(), "--via", "http"]).await?;
    table::tell_run("http, all", &saturated);
    let mut steps = Vec::new();
    for share in extent.load_shares.iter().copied() {
        let rate = share * saturated.orders_per_s;
        let paced = paced(product, rate, extent.load_seconds, &["--via", "http"]).await?;
        table::tell_run(&format!("load {share}"), &paced.run);
        steps.push(LoadStep { share, paced });
    }
    Ok(LoadSweep { saturated, steps })
}

async fn log_sweep(product: &Product, rate: f64, extent: &Extent) -> anyhow::Result<LogSweep> {
    let orders = extent.log_orders.to_string();
    let status = product.status().await?;
    let floor = Floor { story: Story::Seven, orders: extent.log_orders, rate: None };
    // Cold, and thrown away; the log has its orders.
    let warm_up = (extent.log_orders / 4).max(1).to_string();
    let mut orders_before = product.load(&["--orders", &warm_up]).await?.orders.completed;
    let mut steps = Vec::new();
    for _ in 0..extent.log_runs {
        let floor = floor::run(&status, floor).await?;
        table::tell_floor("log", "floor of 7", &floor);
        let saturated = product.load(&["--orders", &orders]).await?;
        table::tell_run("log", &saturated);
        let paced = paced(product, rate, extent.log_seconds, &[]).await?.run;
        table::tell_run("log, paced", &paced);
        let step = LogStep { orders_before, floor: Some(floor), saturated, paced };
        orders_before += step.saturated.orders.completed + step.paced.orders.completed;
        steps.push(step);
    }
    Ok(LogSweep { paced_rate: rate, steps })
}

/// And how many batches were fenced with two replicas.
async fn ratios(product: &Product, amount: Amount) -> anyhow::Result<(Vec<Ratio>, u64)> {
    let orders = amount.orders.to_string();
    let run = async |what: &str, more: &[String]| -> anyhow::Result<Run> {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let run = product.load(&[&["--orders", orders.as_str()], more.as_slice()].concat()).await?;
        table::tell_run(what, &run);
        Ok(run)
    };
    run("warm-up", &[]).await?;
    let mut ratios = Vec::new();
    for change in [Change::HotSku, Change::TenfoldSkus, Change::TenfoldLines] {
        let (mut baseline, mut changed) = (Vec::new(), Vec::new());
        for _ in 0..amount.runs {
            baseline.push(run("baseline", &[]).await?);
            changed.push(run("changed", &change.arguments()).await?);
        }
        ratios.push(Ratio { change, baseline, changed });
    }
    // Not in turn: a replica that was started is there to stay.
    let (mut baseline, mut changed) = (Vec::new(), Vec::new());
    for _ in 0..amount.runs {
        baseline.push(run("baseline", &[]).await?);
    }
    product.up(2).await?;
    // Meanwhile the group finds its new shares.
    run("warm-up", &[]).await?;
    let before = product.fenced_batches().await?;
    for _ in 0..amount.runs {
        changed.push(run("2 replicas", &[]).await?);
    }
    let fenced = product.fenced_batches().await? - before;
    ratios.push(Ratio { change: Change::TwoReplicas, baseline, changed });
    Ok((ratios, fenced))
}

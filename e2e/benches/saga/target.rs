//! What was aimed at, and whether it was reached. Where a target has two ways, either is enough: a slow or noisy
//! machine is compared with its own floor.

use crate::{
    backlog::Backlog,
    restart::Restart,
    results::{Change, LogStep, Rebuilt, Results},
    run::median,
};

const ORDERS_PER_S: f64 = 5_000.0;
const SHARE_OF_FLOOR: f64 = 0.45;
const CPU_S_PER_1000: f64 = 0.40;
/// Milliseconds, and times those of the floor.
const P50: (f64, f64) = (15.0, 1.5);
const P99: (f64, f64) = (40.0, 2.0);
const P99_HALF_MS: f64 = 60.0;
const ANSWER_P99_MS: f64 = 15.0;
const RSS_MB: f64 = 100.0;
const THROUGHPUT_RATIO: f64 = 0.8;
const COST_RATIO: f64 = 1.3;
const BYTES_WRITTEN: f64 = 6_000.0;
const REBUILT_PER_S: f64 = 60_000.0;
const RESTARTED_S: f64 = 3.0;

pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    pub(crate) is_met: bool,
}

pub(crate) fn targets(results: &Results) -> Vec<Target> {
    let mut targets = vec![throughput(results), log_throughput(results), cpu(results)];
    targets.extend(latency(results));
    let rss = results.of_one_replica().map(|run| run.rss_mb).fold(f64::MIN, f64::max);
    targets.push(at_most(
        "RSS of the four services, the most of any run with one replica",
        RSS_MB,
        rss,
        "MB",
    ));
    if let Some(Backlog { orders, left, seconds, rss_mb, .. }) = &results.backlog {
        let what = format!(
            "RSS of the four services at a backlog of {orders} orders, {left} left after {seconds} s"
        );
        targets.push(at_most(&what, RSS_MB, *rss_mb, "MB"));
    }
    for ratio in &results.ratios {
        let (what, value) = (ratio.change.name(), ratio.value());
        targets.push(match ratio.change.is_throughput() {
            true => at_least(&format!("{what}: orders/s to the baseline's"), THROUGHPUT_RATIO, value, ""),
            false => at_most(&format!("{what}: CPU to the baseline's"), COST_RATIO, value, ""),
        });
        if ratio.change == Change::TwoReplicas {
            let fenced = results.fenced_batches;
            targets.push(at_most("2 replicas: fenced batches", 0.0, fenced as f64, ""));
        }
    }
    if let [first, .., last] = results.log.steps.as_slice() {
        let ratio = last.saturated.cpu() / first.saturated.cpu();
        let what =
            format!("CPU of an order with {:.1} times the orders in the log", last.size() / first.size());
        targets.push(at_most(&what, COST_RATIO, ratio, ""));
    }
    if let Some(Rebuilt { messages, seconds }) = results.rebuilt {
        let what = format!("events/s into a view made anew from {messages} of them, its indexes included");
        targets.push(at_least(&what, REBUILT_PER_S, messages as f64 / seconds, ""));
    }
    targets.extend(restart(results));
    let bytes = results.saturated(|run| run.bytes_written());
    targets.push(at_most("bytes an order in all write databases", BYTES_WRITTEN, bytes, ""));
    targets
}

fn throughput(results: &Results) -> Target {
    let orders = results.saturated(|run| run.orders_per_s);
    let of_floor = median(
        results.rounds.saturated.iter().map(|round| round.ours.orders_per_s / round.seven.orders_per_s),
    );
    fast("orders/s, saturated", orders, Some(of_floor))
}

/// Each run is compared with its own floor. That begins with empty logs each time, so what a longer log costs counts in full.
fn log_throughput(results: &Results) -> Target {
    let steps = &results.log.steps;
    let least = steps.iter().map(|step| step.saturated.orders_per_s).fold(f64::INFINITY, f64::min);
    let orders = steps.last().map_or(0, |step| step.orders_before + step.saturated.orders.completed);
    let of_floor: Option<Vec<f64>> = steps.iter().map(LogStep::of_floor).collect();
    let of_floor = of_floor.and_then(|shares| shares.into_iter().reduce(f64::min));
    fast(&format!("orders/s, the slowest run until the log had {orders} orders"), least, of_floor)
}

fn fast(what: &str, orders: f64, of_floor: Option<f64>) -> Target {
    let share = of_floor.map_or_else(String::new, |share| format!(", {share:.2} of the floor"));
    Target {
        what: what.to_owned(),
        wanted: format!(">= {ORDERS_PER_S:.0}, or {SHARE_OF_FLOOR} of the floor of 7 events"),
        measured: format!("{orders:.0}{share}"),
        is_met: orders >= ORDERS_PER_S && orders.is_finite()
            || of_floor.is_some_and(|share| share >= SHARE_OF_FLOOR),
    }
}

/// With the longest log.
fn restart(results: &Results) -> Option<Target> {
    let events = results.restarts.iter().map(|restart| restart.events).max()?;
    let longest = results.restarts.iter().filter(|restart| restart.events == events);
    let slowest = longest.map(Restart::slowest).fold(f64::MIN, f64::max);
    let what = format!("time until a restarted service is ready with a log of {events} events, the slowest");
    Some(at_most(&what, RESTARTED_S, slowest, "s"))
}

fn cpu(results: &Results) -> Target {
    let cpu = results.saturated(|run| run.cpu());
    at_most("CPU s per 1,000 orders: app + Kafka + Postgres", CPU_S_PER_1000, cpu, "")
}

fn latency(results: &Results) -> Vec<Target> {
    let rounds = &results.rounds.paced;
    let either = |what: &str, (limit, times): (f64, f64), ms: f64, of_floor: f64| Target {
        what: format!("{what} at {} orders/s", results.paced_rate),
        wanted: format!("<= {limit} ms, or {times} times the floor's"),
        measured: format!("{ms:.1} ms, {of_floor:.2} times the floor's"),
        is_met: ms <= limit || of_floor <= times,
    };
    let p50 = median(rounds.iter().map(|round| round.ours.latency.p50_ms / round.seven.latency.p50_ms));
    let p99 = median(rounds.iter().map(|round| round.ours.latency.p99_ms / round.seven.latency.p99_ms));
    let half = format!("p99 at half of the saturated rate ({} orders/s)", results.half.rate);
    // An answer is to an order that was taken: where some were not, there is none that counts.
    let all_taken = results.http.run.orders.accepted == results.http.run.orders.sent;
    let answer = results.http.run.answer.filter(|_| all_taken).map_or(f64::NAN, |answer| answer.p99_ms);
    vec![
        either("p50", P50, results.paced(|run| run.latency.p50_ms), p50),
        either("p99", P99, results.paced(|run| run.latency.p99_ms), p99),
        at_most(&half, P99_HALF_MS, results.half.run.latency.p99_ms, "ms"),
        at_most(
            &format!("p99 of the answer of POST /orders at {}/s", results.http.rate),
            ANSWER_P99_MS,
            answer,
            "ms",
        ),
    ]
}

fn at_most(what: &str, limit: f64, value: f64, unit: &str) -> Target {
    compared(what, "<=", limit, value, unit, value <= limit)
}

fn at_least(what: &str, limit: f64, value: f64, unit: &str) -> Target {
    compared(what, ">=", limit, value, unit, value >= limit)
}

fn compared(what: &str, sign: &str, limit: f64, value: f64, unit: &str, is_met: bool) -> Target {
    // Not rounded to where it would look met.
    let digits = if limit >= 10.0 || limit == 0.0 { 1 } else { 3 };
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    Target {
        what: what.to_owned(),
        wanted: format!("{sign} {limit}{unit}"),
        measured: format!("{value:.digits$}{unit}"),
        is_met,
    }
}

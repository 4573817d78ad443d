//! What is printed.

use cli::load::{Cpu, Latency};

use crate::{
    backlog::Backlog,
    floor::Figures,
    restart::Restart,
    round::Round,
    run::{Run, median, together},
};

/// The floors and the product, a line each.
pub(crate) fn tell(what: &str, round: &Round) {
    for (who, floor) in [("floor of 7", &round.seven), ("floor of 12", &round.twelve)] {
        tell_floor(what, who, floor);
    }
    tell_run(what, &round.ours);
}

pub(crate) fn tell_floor(what: &str, who: &str, floor: &Figures) {
    line(what, who, floor.orders_per_s, &floor.latency, &floor.cpu_s_per_1000, None);
}

pub(crate) fn tell_run(what: &str, run: &Run) {
    line(what, "fulfil", run.orders_per_s, &run.latency, &run.cpu_s_per_1000, Some(run.rss_mb));
}

pub(crate) fn tell_restart(restart: &Restart) {
    let each = restart.seconds.iter().map(|(name, seconds)| format!("  {name} {seconds:.2} s"));
    println!("restart    {:>9} events{}", restart.events, each.collect::<String>());
}

pub(crate) fn tell_backlog(backlog: &Backlog) {
    let Backlog { orders, left, seconds, rss_mb, rss_mb_by_service } = backlog;
    let each = rss_mb_by_service.iter().map(|(name, mb)| format!("  {name} {mb:.0} MB")).collect::<String>();
    println!("backlog    {left} of {orders} orders left after {seconds} s  RSS {rss_mb:.0} MB{each}");
}

fn line(what: &str, who: &str, orders_per_s: f64, latency: &Latency, cpu: &Cpu, rss_mb: Option<f64>) {
    println!(
        "{what:<10} {who:<11} {orders_per_s:>7.0} orders/s  p50 {:>7.1} p99 {:>7.1} max {:>7.1} ms  CPU s per 1,000: app {:.3} + Kafka {:.3} + Postgres {:.3}{}",
        latency.p50_ms,
        latency.p99_ms,
        latency.max_ms,
        cpu.app,
        cpu.kafka,
        cpu.postgres,
        rss_mb.map(|mb| format!("  RSS {mb:.0} MB")).unwrap_or_default(),
    );
}

/// Medians of the ratios within each round.
pub(crate) fn summary(what: &str, rounds: &[Round]) {
    let tell = |events: u8, floor: fn(&Round) -> &Figures| {
        let ratio =
            |of: fn(&Run, &Figures) -> f64| median(rounds.iter().map(|round| of(&round.ours, floor(round))));
        println!(
            "{what}: {:.2} of the orders/s of the floor of {events} events, {:.2} times its CPU, {:.2} times its p50, {:.2} times its p99",
            ratio(|ours, floor| ours.orders_per_s / floor.orders_per_s),
            ratio(|ours, floor| ours.cpu() / together(&floor.cpu_s_per_1000)),
            ratio(|ours, floor| ours.latency.p50_ms / floor.latency.p50_ms),
            ratio(|ours, floor| ours.latency.p99_ms / floor.latency.p99_ms),
        );
    };
    tell(7, |round| &round.seven);
    tell(12, |round| &round.twelve);
}

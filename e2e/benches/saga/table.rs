//! What is printed.

use serde_json::{Value, json};

use crate::floor::Figures;

/// The floors and the product, one after the other.
pub(crate) struct Round {
    pub(crate) seven: Figures,
    pub(crate) twelve: Figures,
    pub(crate) ours: Value,
}

/// A line each.
pub(crate) fn tell(what: &str, round: &Round) {
    line(what, "floor of 7", &json!(round.seven));
    line(what, "floor of 12", &json!(round.twelve));
    line(what, "fulfil", &round.ours);
}

fn line(what: &str, who: &str, figures: &Value) {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let cpu = &figures["cpu_s_per_1000"];
    println!(
        "{what:<10} {who:<11} {:>7.0} orders/s  p50 {:>7.1} p99 {:>7.1} max {:>7.1} ms  CPU s per 1,000: app {:.3} + Kafka {:.3} + Postgres {:.3}{}",
        number(&figures["orders_per_s"]),
        number(&figures["p50_ms"]),
        number(&figures["p99_ms"]),
        number(&figures["max_ms"]),
        number(&cpu["app"]),
        number(&cpu["kafka"]),
        number(&cpu["postgres"]),
        figures["rss_mb"].as_f64().map(|mb| format!("  RSS {mb:.0} MB")).unwrap_or_default(),
    );
}

/// Medians of the ratios within each round.
pub(crate) fn summary(what: &str, rounds: &[Round]) {
    let floors: [(u8, fn(&Round) -> &Figures); 2] = [(7, |round| &round.seven), (12, |round| &round.twelve)];
    for (events, floor) in floors {
        let ratio = |of: fn(&Value) -> f64| {
            median(rounds.iter().map(|round| of(&round.ours) / of(&json!(floor(round)))))
        };
        println!(
            "{what}: {:.2} of the orders/s of the floor of {events} events, {:.2} times its CPU, {:.2} times its p50, {:.2} times its p99",
            ratio(|figures| figures["orders_per_s"].as_f64().unwrap_or_default()),
            ratio(cpu),
            ratio(|figures| figures["p50_ms"].as_f64().unwrap_or_default()),
            ratio(|figures| figures["p99_ms"].as_f64().unwrap_or_default()),
        );
    }
}

/// Of all three, the generator's left out.
fn cpu(figures: &Value) -> f64 {
    let of = |who: &str| figures["cpu_s_per_1000"][who].as_f64().unwrap_or_default();
    of("app") + of("kafka") + of("postgres")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

//! What is printed.

use serde_json::{Value, json};

use crate::floor::Figures;

/// A line each.
pub(crate) fn tell(what: &str, floor: &Figures, ours: &Value) {
    line(what, "floor", &json!(floor));
    line(what, "fulfil", ours);
}

fn line(what: &str, who: &str, figures: &Value) {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let cpu = &figures["cpu_s_per_1000"];
    println!(
        "{what:<10} {who:<7} {:>7.0} orders/s  p50 {:>7.1} p99 {:>7.1} max {:>7.1} ms  CPU s per 1,000: app {:.3} + Kafka {:.3} + Postgres {:.3}{}",
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

/// Medians, and the median of the ratios within each pair.
pub(crate) fn summary(what: &str, pairs: &[(Figures, Value)]) {
    let ratio =
        |of: fn(&Value) -> f64| median(pairs.iter().map(|(floor, ours)| of(ours) / of(&json!(floor))));
    let speed = ratio(|figures| figures["orders_per_s"].as_f64().unwrap_or_default());
    let [p50, p99] = [
        ratio(|figures| figures["p50_ms"].as_f64().unwrap_or_default()),
        ratio(|figures| figures["p99_ms"].as_f64().unwrap_or_default()),
    ];
    println!("{what}: {speed:.2} of the floor's orders/s, {p50:.2} times its p50, {p99:.2} times its p99");
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

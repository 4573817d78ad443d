//! Latencies of a run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds; nearest rank, so that each figure is one that was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    /// `None` of nothing.
    pub fn of(measured: impl Iterator<Item = Duration>) -> Option<Self> {
        let mut sorted: Vec<Duration> = measured.collect();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let rank = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted[rank.saturating_sub(1).min(last)].as_secs_f64() * 1_000.0
        };
        Some(Self { p50_ms: rank(0.50), p95_ms: rank(0.95), p99_ms: rank(0.99), max_ms: rank(1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let latency = Latency::of((1..=200).rev().map(Duration::from_millis)).unwrap();
        let expected = Latency { p50_ms: 100.0, p95_ms: 190.0, p99_ms: 198.0, max_ms: 200.0 };
        assert_eq!(latency, expected);
        let one = Latency::of([Duration::from_millis(7)].into_iter()).unwrap();
        assert_eq!((one.p50_ms, one.max_ms), (7.0, 7.0));
        assert_eq!(Latency::of([].into_iter()), None);
    }
}

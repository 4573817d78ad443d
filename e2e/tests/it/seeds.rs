//! Runs of many seeds, on all processors.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::processors::on_all_processors;

/// The first, and how many: `FULFIL_SEED` alone is that one, with `FULFIL_SEEDS` so many from there on.
pub(crate) fn asked(otherwise: u64) -> (u64, u64) {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (first, count) = (number("FULFIL_SEED"), number("FULFIL_SEEDS"));
    (first.unwrap_or(0), count.unwrap_or(if first.is_some() { 1 } else { otherwise }))
}

/// Adds up what the runs came to. The failure with the lowest seed of those that were seen is told.
pub(crate) fn run_all<S: Default + Send>(
    first: u64,
    count: u64,
    run: impl Fn(u64) -> Result<S, String> + Sync,
    add: impl Fn(&mut S, &S) + Sync,
) -> Result<S, String> {
    let next = AtomicU64::new(first);
    let work = || -> Result<S, String> {
        let mut sums = S::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return Ok(sums);
            }
            add(&mut sums, &run(seed).inspect_err(|_| next.store(first + count, Ordering::Relaxed))?);
        }
    };
    let mut sums = S::default();
    for outcome in on_all_processors(work) {
        add(&mut sums, &outcome?);
    }
    Ok(sums)
}

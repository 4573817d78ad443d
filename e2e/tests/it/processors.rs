//! What computes for minutes, on all processors.

use std::{num::NonZero, thread};

const NICENESS: i32 = 19;

/// Takes what others leave: beside it run tests that say how long a recovery takes.
pub(crate) fn on_all_processors<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let politely = || {
        // Of this thread alone. Where it is refused, they are just as fast as the others.
        let _ = rustix::process::nice(NICENESS);
        work()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(politely)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    })
}

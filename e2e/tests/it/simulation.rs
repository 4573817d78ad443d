//! The product's unit of work, relay and consumer's positions over models of Postgres and Kafka in which everything
//! goes wrong: answers lost after the commit, calls that land when nobody waits for them any more, zombies, rebalances,
//! producers that die with messages on their way. One thread, one seed, one run for ever.
//!
//! `FULFIL_SEED=42 make simulation` runs one seed again.
//! A seed that failed once goes into `simulation/regressions.txt`, which every run begins with.

mod audit;
mod broker;
mod consumer;
mod database;
mod edge;
mod env;
mod faults;
mod process;
mod provider;
mod relay;
mod site;
mod world;

use std::time::Instant;

use world::World;

use crate::{faults::Faults, seeds};

const SEEDS: u64 = 1_000;
const ORDERS: usize = 12;
/// A planted bug must be seen in so many.
const PLANTED_SEEDS: u64 = 200;

/// A mistake of the machinery, planted to see whether it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// The log takes what was decided at another end of it.
    AppendsWithoutCompare,
    /// Positions are written whatever they are.
    ComparesNoPositions,
    /// Positions are moved in a transaction before that of the events.
    MovesBeforeItAppends,
    /// What must wait is thrown away.
    DropsWhatIsHeld,
    /// An append without an answer counts as done.
    TakesSilenceForDone,
    /// The relay's cursor moves past what was only given to the producer.
    AcknowledgesWhatItSends,
    /// Deadlines fire while their answer waits on a topic.
    IgnoresTheBacklog,
}

impl Bug {
    const ALL: [Self; 7] = [
        Self::AppendsWithoutCompare,
        Self::ComparesNoPositions,
        Self::MovesBeforeItAppends,
        Self::DropsWhatIsHeld,
        Self::TakesSilenceForDone,
        Self::AcknowledgesWhatItSends,
        Self::IgnoresTheBacklog,
    ];
}

/// What a run came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Sums {
    faults: Faults,
    completed: usize,
    settled: usize,
    steps: u64,
    events: usize,
    messages: usize,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.faults.add(&other.faults);
        self.completed += other.completed;
        self.settled += other.settled;
        self.steps += other.steps;
        self.events += other.events;
        self.messages += other.messages;
    }
}

#[test]
fn whatever_breaks_under_the_machinery_every_order_ends_and_all_adds_up() {
    let (first, count) = seeds::asked(SEEDS);
    let start = Instant::now();
    let sums = seeds::run_all(first, count, |seed| run(seed, None), Sums::add);
    let sums = sums.unwrap_or_else(|failure| panic!("{failure}"));
    let missing = sums.faults.tell(&faults::ALL);
    println!(
        "{count} seeds, {} orders completed, {} settled, {} events, {} messages, {} steps, {} ms",
        sums.completed,
        sums.settled,
        sums.events,
        sums.messages,
        sums.steps,
        start.elapsed().as_millis()
    );
    if count >= SEEDS {
        assert!(missing.is_empty(), "these faults never happened: {missing:?}");
    }
}

#[test]
fn what_failed_once_does_not_fail_again() {
    for line in include_str!("simulation/regressions.txt").lines().filter(|line| !line.starts_with('#')) {
        let seed = line.split_whitespace().next().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| panic!("{line} does not begin with a seed"));
        run(seed, None).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn a_simulated_seed_is_one_run_for_ever() {
    for seed in 0..20 {
        assert_eq!(run(seed, None), run(seed, None));
    }
}

/// The net must have no holes.
#[test]
fn a_planted_mistake_of_the_machinery_is_seen() {
    for bug in Bug::ALL {
        let seen = (0..PLANTED_SEEDS).find_map(|seed| run(seed, Some(bug)).err());
        let what = seen.unwrap_or_else(|| panic!("{bug:?} is not seen in {PLANTED_SEEDS} seeds"));
        println!("{bug:?}: {what}\n");
    }
}

fn run(seed: u64, bug: Option<Bug>) -> Result<Sums, String> {
    let mut world = World::new(seed, ORDERS, bug);
    world
        .run_to_the_end()
        .map_err(|failure| format!("seed {seed}: {failure}\nagain: FULFIL_SEED={seed} make simulation"))?;
    let stores =
        [&world.orders.database.store, &world.inventory.database.store, &world.payments.database.store];
    Ok(Sums {
        faults: world.faults().clone(),
        completed: world.completed,
        settled: world.settled,
        steps: world.env.steps,
        events: stores.iter().map(|store| store.log.len()).sum(),
        messages: world.env.broker.places().map(|(_, messages)| messages.len()).sum(),
    })
}

//! Every boundary at which a process can die, fail or stall, hit for real: abort, abort a moment later, an error after
//! which the outcome is unknown, a stall; at the first pass and at a random one where there are many. After each round
//! every order ends and everything adds up.
//!
//! `make crash-matrix` runs it whole, `FULFIL_CRASH_MATRIX=relay make crash-matrix` the rounds whose name has `relay` in it; the
//! gate runs ten. A failpoint at which nobody was hit fails.

mod rounds;
mod run;

use std::{env, time::Instant};

use e2e::system::{Edge, Load, Mix, System};

use rounds::{Round, SMOKE, all};
use run::Figures;

/// `whole`, or a part of the names of the rounds to run.
const VARIABLE: &str = "FULFIL_CRASH_MATRIX";
const SEED: &str = "FULFIL_SEED";

#[tokio::test]
async fn whoever_dies_fails_or_stalls_anywhere_nothing_is_lost_or_made() {
    let Some(mut system) = System::to_harm().await else { return };
    let rounds: Vec<Round> = match env::var(VARIABLE).ok().as_deref() {
        Some("whole") => all(),
        Some(part) => all().into_iter().filter(|round| round.name().contains(part)).collect(),
        None => all().into_iter().filter(|round| SMOKE.contains(&round.name().as_str())).collect(),
    };
    assert!(!rounds.is_empty(), "no round has such a name");
    let seed = env::var(SEED).ok().map_or(1, |text| text.parse().unwrap());
    system.scale(2).await;
    let edge = Edge::of(&system);
    let mut load = Load::new(seed, Mix::contradicted());
    load.stock(&edge).await;
    let (mut figures, since) = (Figures::default(), Instant::now());
    for round in &rounds {
        let begun = Instant::now();
        load.mix = round.mix();
        figures.add(run::round(&mut system, &mut load, &edge, round, seed).await);
        eprintln!("{:40} {:5.1} s", round.name(), begun.elapsed().as_secs_f64());
    }
    system.scale(1).await;
    system.adds_up_in_the_end().await;
    eprintln!("{} rounds in {} s, seed {seed}: {figures}", rounds.len(), since.elapsed().as_secs());
    eprintln!(
        "{} orders accepted, {} refused, {} not answered; {} messages said",
        load.journal.accepted.len(),
        load.journal.refused.len(),
        load.journal.unknown.len(),
        load.said
    );
}

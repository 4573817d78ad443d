//! One round: arm, send until everybody was hit, bring back who died, and ask whether everything adds up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use e2e::system::{Armed, Edge, Load, System};
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::rounds::{Hit, Round};

/// A round that has not hit everybody by then is one at which nothing happens: after the time, for what happens once in a
/// while, and after the waves, which a busy machine takes longer for.
const HIT_LIMIT: Duration = Duration::from_secs(60);
const HIT_WAVES: usize = 60;
const REPLICAS: [u16; 2] = [0, 1];
const WAVE: usize = 24;
const RANDOM_HIT: std::ops::Range<u32> = 2..12;

/// Processes hit, by action.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<&'static str, usize>);

impl Figures {
    pub(crate) fn add(&mut self, (action, hit): (&'static str, usize)) {
        *self.0.entry(action).or_default() += hit;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (action, count) in &self.0 {
            write!(f, "{}{count} x {action}", if first { "" } else { ", " })?;
            first = false;
        }
        Ok(())
    }
}

pub(crate) async fn round(
    system: &mut System,
    load: &mut Load,
    edge: &Edge,
    round: &Round,
    seed: u64,
) -> (&'static str, usize) {
    let mut rng = StdRng::seed_from_u64(seed ^ hash(&round.name()));
    let mut armed = Vec::new();
    for service in round.who {
        // One of the two reads a partition and one relay leads: whoever comes by first.
        let replicas = if round.path == "rebalance" || round.path == "shutdown" { 1 } else { REPLICAS.len() };
        for replica in &REPLICAS[..replicas] {
            let actions = match round.hit {
                Hit::First => format!("1*return({})", round.action),
                Hit::Random => {
                    format!("{}*off->1*return({})", rng.random_range(RANDOM_HIT), round.action)
                }
            };
            armed.push(system.arm(service, *replica, &round.point(), &actions).await);
        }
    }
    match round.path {
        // Whoever misses a member for longer than its session shares its partitions out anew.
        "rebalance" => signal(system, round, 1, Signal::SIGKILL),
        "shutdown" => signal(system, round, 0, Signal::SIGTERM),
        _ => {}
    }
    let (begun, mut waves) = (Instant::now(), 0);
    let missed = |armed: &[Armed]| -> Vec<&str> {
        let hit: BTreeSet<&str> =
            armed.iter().filter(|armed| armed.was_hit()).map(|armed| armed.service.as_str()).collect();
        round.who.iter().copied().filter(|service| !hit.contains(service)).collect()
    };
    while !missed(&armed).is_empty() {
        let goes_on = begun.elapsed() < HIT_LIMIT || waves < HIT_WAVES;
        assert!(goes_on, "{}: nothing happened to {:?} in {waves} waves", round.name(), missed(&armed));
        waves += 1;
        let wave = load.wave(WAVE);
        load.say(edge, wave).await;
        bring_back(system, round, &armed).await;
    }
    for armed in &armed {
        system.disarm(armed).await;
    }
    // Who came by since the last look counts too, and must be dead before the dead are looked for.
    let hit: Vec<&Armed> = armed.iter().filter(|armed| armed.was_hit()).collect();
    if round.kills() || round.path == "shutdown" {
        for armed in &hit {
            system.dies(armed).await;
        }
    }
    let hit = hit.len();
    system.restart_dead().await;
    load.ask_again(edge).await;
    system.all_accounted_for(load).await;
    system.adds_up_with(&load.journal.told).await;
    let action = if round.kills() { "abort" } else { round.action.split(':').next().unwrap_or_default() };
    (action, hit)
}

fn signal(system: &System, round: &Round, replica: u16, signal: Signal) {
    for service in round.who {
        system.signal(system.pid(service, replica), signal);
    }
}

/// Those that died while others are still to be hit: traffic needs them.
async fn bring_back(system: &mut System, round: &Round, armed: &[Armed]) {
    if round.path == "rebalance" {
        return;
    }
    for armed in armed.iter().filter(|armed| armed.was_hit()) {
        restart_dead(system, &armed.service, armed.replica).await;
    }
}

async fn restart_dead(system: &mut System, service: &str, replica: u16) {
    let status = system.refresh().await.service(service, replica);
    if status.is_some_and(|service| service.pid.is_none()) {
        system.restart_replica(service, replica).await;
    }
}

fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

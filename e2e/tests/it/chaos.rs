//! Random faults against the real system under load, from a seed: processes killed, frozen and scaled, the broker and
//! the database killed, connections cut, silenced and lost after the commit. What must hold at every moment is checked
//! every second, all the rest at the end; and after each fault it is measured how soon orders end again.
//!
//! `make chaos` runs it for half an hour (`FULFIL_CHAOS_SECONDS`, `FULFIL_SEED`); the gate runs each kind of fault once
//! and then goes on until five minutes are over. The log of the faults stays beside the programs.

mod proxy;
mod fault;
mod break_it;
pub(crate) mod watch;
mod tally;

use std::{
    env,
    time::{Duration, Instant},
};

use e2e::system::{Edge, Load, Loading, Mix, System};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::watch as channel, time::sleep};

use break_it::break_it;
use fault::Fault;
use proxy::Proxy;
use tally::Tally;
use watch::Watch;

const SECONDS: &str = "FULFIL_CHAOS_SECONDS";
const SEED: &str = "FULFIL_SEED";
const SECONDS_IN_THE_GATE: u64 = 300;
const SECONDS_OF_A_LONG_RUN: u64 = 1_800;
/// Of a long run.
const LOST_MIN: u64 = 100;
/// Of the dev profile on two cores, with room for what piles up during a fault.
const ORDERS_A_WAVE: usize = 10;
const WAVE_EVERY: Duration = Duration::from_millis(500);
const PAUSE_MS: std::ops::Range<u64> = 5_000..15_000;
/// A short run has each kind once, so it makes shorter pauses.
const SHORT_PAUSE_MS: std::ops::Range<u64> = 2_000..5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_made_whatever_breaks() {
    let seed = env::var(SEED).ok().map_or(1, |text| text.parse().unwrap());
    let seconds = env::var(SECONDS).ok().map_or(SECONDS_IN_THE_GATE, |text| text.parse().unwrap());
    let (proxy, server) = Proxy::listen().await;
    let Some(mut system) = System::behind(proxy.port, "-chaos", &server).await else { return };
    let mut tally = Tally::open(seed);
    system.scale(2).await;

    let edge = Edge::of(&system);
    let load = Load::new(seed, Mix::contradicted());
    load.stock(&edge).await;
    let (stop, stopped) = channel::channel(false);
    let loading = Loading::start(load, edge, ORDERS_A_WAVE, WAVE_EVERY);
    let watch = Watch::start(&system, stopped);

    let mut rng = StdRng::seed_from_u64(seed);
    let (begun, mut each) = (Instant::now(), Fault::EACH.iter());
    let long = seconds > SECONDS_IN_THE_GATE;
    while each.len() > 0 || begun.elapsed() < Duration::from_secs(seconds) {
        let fault = each.next().copied().unwrap_or_else(|| Fault::draw(&mut rng));
        tally.begins(fault, begun.elapsed());
        let ended = break_it(&mut system, &proxy, fault, &mut rng).await;
        let took = match fault {
            Fault::KillForGood { .. } => system.taken_over(ended).await,
            _ => system.recovered(ended).await,
        };
        tally.recovered(fault, took);
        system.restart_dead().await;
        watch.assert_well();
        let pause = if long { PAUSE_MS } else { SHORT_PAUSE_MS };
        sleep(Duration::from_millis(rng.random_range(pause))).await;
    }
    let load = loading.stop().await;
    proxy.change(|mode| mode.answers_to_lose = 0);
    system.wake_all();
    system.restart_dead().await;
    system.scale(1).await;
    system.all_accounted_for(&load).await;
    stop.send_replace(true);
    let watched = watch.stop().await;
    system.shows_something().await;
    system.adds_up_with(&load.journal.told).await;
    let never: Vec<_> = proxy.done().into_iter().filter(|(_, count)| *count == 0).collect();
    assert!(never.is_empty(), "the proxy did nothing of {never:?}");
    if seconds >= SECONDS_OF_A_LONG_RUN {
        assert!(proxy.lost() >= LOST_MIN, "{} answers were lost after their commit", proxy.lost());
    }
    tally.report(&system, &load, &watched, &proxy, begun.elapsed());
}

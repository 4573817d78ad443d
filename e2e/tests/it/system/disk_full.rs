//! A server's disk is full for a while. By hand, as root, since it mounts small disks for them:
//! `deploy/with-servers cargo test --workspace --test it disk_full -- --ignored --nocapture`

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use e2e::system::{Edge, Load, Loading, Mix, System, until};
use tokio::time::sleep;

const DISK_MIB: u64 = 1_500;
const SEED: u64 = 23;
const ORDERS_A_WAVE: usize = 10;
const WAVE_EVERY: Duration = Duration::from_millis(500);
/// Before it is full, and while it is.
const GOES_ON: Duration = Duration::from_secs(10);
const FULL: Duration = Duration::from_secs(60);
const AGAIN_LIMIT: Duration = Duration::from_secs(120);
const NO_SPACE: &str = "No space left on device";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "by hand, as root: see the head of this file"]
async fn a_disk_that_is_full_for_a_minute_loses_nothing_once_there_is_room() {
    let Some((mut system, disks)) = System::on_small_disks("-disk-full", DISK_MIB).await else { return };
    let edge = Edge::of(&system);
    let load = Load::new(SEED, Mix { poison_per_mille: 0, ..Mix::default() });
    load.stock(&edge).await;
    let loading = Loading::start(load, edge, ORDERS_A_WAVE, WAVE_EVERY);
    for server in ["postgres", "kafka"] {
        sleep(GOES_ON).await;
        disks.fill(server);
        sleep(FULL).await;
        disks.free(server);
        system.refresh().await;
        let lives = match server {
            "postgres" => system.status.postgres_pid,
            _ => system.status.kafka_pid,
        };
        // It may well die of it; the services may not.
        if lives.is_none() {
            system.restart(server).await;
        }
        let since = Instant::now();
        let before = system.seen.ended_after(0).len();
        let ended = async || (system.seen.ended_after(0).len() > before).then_some(());
        until("orders to end again", AGAIN_LIMIT, ended).await;
        let died = if lives.is_none() { "it had died and was started again" } else { "it lived on" };
        println!(
            "{server}: a full disk for {} s; {died}; orders ended {:.1} s after there was room",
            FULL.as_secs(),
            since.elapsed().as_secs_f64()
        );
        let log = Path::new(&system.service("order-service").log).with_file_name(format!("{server}.log"));
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains(NO_SPACE), "{server} never noticed that its disk was full");
    }
    let load = loading.stop().await;
    system.all_accounted_for(&load).await;
    println!(
        "{} orders accepted, {} not answered; all is accounted for",
        load.journal.accepted.len(),
        load.journal.unknown.len()
    );
    system.adds_up_with(&load.journal.told).await;
}

//! How soon the services are ready again, all of them started at once, with a short log and with a long one.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::Context;
use cli::dev::Status;
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{product::Product, table};

/// Of four processes that start meanwhile on the same cores, so not more often.
const LOOK: Duration = Duration::from_millis(10);
/// When all were ready for somebody else.
const PATIENCE: Duration = Duration::from_secs(5);
/// The unit of times in `/proc/PID/stat`, the same on every Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Restart {
    /// In the log of order-service.
    pub(crate) events: i64,
    /// From when each process began until its `/readyz` answered 200.
    pub(crate) seconds: BTreeMap<String, f64>,
}

impl Restart {
    pub(crate) fn slowest(&self) -> f64 {
        self.seconds.values().copied().fold(f64::MIN, f64::max)
    }
}

/// So often with the log as it is, and as often with so many events in it.
pub(crate) async fn measure(product: &Product, runs: usize, events: i64) -> anyhow::Result<Vec<Restart>> {
    let mut restarts = Vec::new();
    for is_long in [false, true] {
        product.stop_services().await?;
        let mut log = product.log().await?;
        if is_long {
            let began = Instant::now();
            log.lengthen(events).await?;
            println!("restart    log lengthened in {:.0} s", began.elapsed().as_secs_f64());
        }
        let events = log.end().await?;
        for _ in 0..runs {
            product.stop_services().await?;
            let restart = Restart { events, seconds: start(product).await? };
            table::tell_restart(&restart);
            restarts.push(restart);
        }
    }
    Ok(restarts)
}

/// Seconds, by service.
async fn start(product: &Product) -> anyhow::Result<BTreeMap<String, f64>> {
    // Ports stay from one start to the next.
    let mut asking = JoinSet::new();
    for service in product.status().await?.services {
        asking.spawn(async move { (service.name, ready(&format!("{}/readyz", service.admin)).await) });
    }
    product.up(1).await?;
    let status = product.status().await?;
    let ready = timeout(PATIENCE, asking.join_all()).await.context("a service has another address")?;
    ready
        .into_iter()
        .map(|(name, at)| {
            let at = at?;
            let took = at.saturating_duration_since(began(&status, &name)?);
            Ok((name, took.as_secs_f64()))
        })
        .collect()
}

/// When it was.
async fn ready(url: &str) -> anyhow::Result<Instant> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    loop {
        if client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(Instant::now());
        }
        sleep(LOOK).await;
    }
}

/// As the kernel says, to a hundredth of a second: whoever started it did other things before and after.
fn began(status: &Status, service: &str) -> anyhow::Result<Instant> {
    let pid = status.service(service, 0).and_then(|service| service.pid);
    let pid = pid.with_context(|| format!("{service} does not run"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses can hold anything. Field 22 is since the machine began.
    let ticks =
        stat.rsplit_once(')').and_then(|(_, after)| after.split_whitespace().nth(19)?.parse::<f64>().ok());
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime = uptime.split(' ').next().and_then(|seconds| seconds.parse::<f64>().ok());
    let age = uptime.zip(ticks).map(|(uptime, ticks)| uptime - ticks / TICKS_PER_SECOND);
    let age = age.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    age.and_then(|age| Instant::now().checked_sub(age)).context("when a process began is not to be read")
}

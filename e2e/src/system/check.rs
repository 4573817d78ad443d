//! The end of a test: nobody died unnoticed, and everything adds up.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};

use cli::{
    audit::{Conservation, Rules, Sources, Told, Violation, audit, load, load_quiet},
    dev::{self, Death, ServerRole},
};
use nix::sys::signal::Signal;
use shared::contract::envelope::Mode;
use tokio::time::sleep;

use super::System;

const LOADS_MAX: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);
const QUIET_LIMIT: Duration = Duration::from_secs(200);
const SETTLE_LIMIT: Duration = Duration::from_secs(20);
const REFUSED: i32 = 78;
const STARTS_AGAIN: &str = "start again";
/// What an armed process says before it dies.
const ABORTED: &str = "action=\"abort";

impl System {
    /// The invariants, with other tests at work: what must be true at any moment.
    pub async fn adds_up(&mut self) {
        self.nobody_died().await;
        let sources = self.sources();
        let world = patiently(async || load(&sources).await).await;
        report(audit(&world, &rules(false)));
    }

    /// The same for a test that has the system alone: every order must have ended.
    pub async fn adds_up_in_the_end(&mut self) {
        self.adds_up_with(&[]).await;
    }

    /// The same, and what clients were told is so.
    pub async fn adds_up_with(&mut self, told: &[Told]) {
        self.nobody_died().await;
        let sources = self.sources();
        let mut deadline = None;
        loop {
            let mut world = patiently(async || load_quiet(&sources, QUIET_LIMIT).await).await;
            world.told = told.to_vec();
            let found = audit(&world, &rules(true));
            let is_over = Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + SETTLE_LIMIT);
            if found.is_empty() || is_over || !found.iter().all(settles) {
                return report(found);
            }
            sleep(PAUSE).await;
        }
    }

    /// What can be checked of logs that are too large to be held in memory.
    pub async fn conserves_goods_and_money(&mut self) {
        self.nobody_died().await;
        // The projector has no log.
        let logs: Vec<(String, String)> = ["order-service", "inventory-service", "payment-service"]
            .map(|name| (name.to_owned(), self.service(name).database.clone()))
            .into();
        let mut conservation = Conservation::default();
        conservation.follow(&logs).await.unwrap_or_else(|error| panic!("{error:#}"));
        report(conservation.found().to_vec());
    }

    async fn nobody_died(&mut self) {
        let Some(dir) = self.dir.clone() else { return };
        self.refresh().await;
        let is_service = |death: &Death| {
            let name = death.log.file_name().unwrap_or_default().to_string_lossy().into_owned();
            death.log.starts_with(&dir)
                && self.status.services.iter().any(|known| name.starts_with(&known.name))
        };
        let fails_over = self.status.servers.iter().any(|server| server.role == ServerRole::Standby);
        let fell: Vec<String> = dev::deaths()
            .iter()
            .filter(|death| is_service(death) && !is_meant(death) && !(fails_over && has_seen_more(death)))
            .map(|Death { pid, log, status, .. }| format!("{pid}: {status}, {}", log.display()))
            .collect();
        assert!(fell.is_empty(), "services ended as none should: {fell:?}");
        let dead: Vec<&str> = self
            .status
            .services
            .iter()
            .filter(|service| service.pid.is_none())
            .map(|service| service.log.as_str())
            .collect();
        assert!(dead.is_empty(), "services died; their logs: {dead:?}");
    }

    fn sources(&self) -> Sources {
        let of = |service: &cli::dev::ServiceStatus| (service.name.clone(), service.database.clone());
        Sources {
            broker: self.broker.clone(),
            databases: self.status.services.iter().filter(|service| service.replica == 0).map(of).collect(),
            provider: self.status.provider.clone(),
        }
    }
}

/// In good order, or refusing to start, which is looked at where it is meant, or by the hand of a test.
fn is_meant(death: &Death) -> bool {
    match death.status.signal().map(Signal::try_from) {
        None => matches!(death.status.code(), Some(0 | REFUSED)),
        Some(Ok(Signal::SIGKILL)) => !death.is_forced,
        Some(Ok(Signal::SIGABRT)) => said(death, ABORTED),
        Some(_) => false,
    }
}

/// Of a commit that the primary took with it: no other was told of it, and this one starts again.
fn has_seen_more(death: &Death) -> bool {
    death.status.code() == Some(1) && said(death, STARTS_AGAIN)
}

/// While it lived.
fn said(death: &Death, words: &str) -> bool {
    let log = fs::read(&death.log).unwrap_or_default();
    let from = usize::try_from(death.log_from).unwrap_or(usize::MAX).min(log.len());
    String::from_utf8_lossy(&log[from..]).contains(words)
}

/// A busy machine makes one of its many calls late.
async fn patiently<T>(load: impl AsyncFn() -> anyhow::Result<T>) -> T {
    for _ in 1..LOADS_MAX {
        match load().await {
            Ok(loaded) => return loaded,
            Err(error) => eprintln!("loading again: {error:#}"),
        }
        sleep(PAUSE).await;
    }
    load().await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// What can be under way though every order has ended: money that the provider has given back and our books will say so,
/// a letter that the relay has not published.
fn settles(violation: &Violation) -> bool {
    matches!(violation.invariant, 4 | 7)
}

fn rules(quiet: bool) -> Rules {
    Rules { quiet, mode: Mode::Development, letters: None }
}

fn report(violations: Vec<Violation>) {
    let lines: Vec<String> = violations
        .iter()
        .map(|violation| format!("{} {}: {}", violation.invariant, violation.subject, violation.detail))
        .collect();
    assert!(lines.is_empty(), "{} invariants are broken:\n{}", lines.len(), lines.join("\n"));
}

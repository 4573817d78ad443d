//! The end of a test: nobody died unnoticed, and everything adds up.

use std::time::Duration;

use cli::audit::{Conservation, Rules, Sources, Told, Violation, audit, load, load_quiet};
use shared::contract::envelope::Mode;

use super::System;

const QUIET_LIMIT: Duration = Duration::from_secs(60);

impl System {
    /// The invariants, with other tests at work: what must be true at any moment.
    pub async fn adds_up(&mut self) {
        self.nobody_died().await;
        let world = load(&self.sources()).await.unwrap_or_else(|error| panic!("{error:#}"));
        report(audit(&world, &rules(false)));
    }

    /// The same for a test that has the system alone: every order must have ended.
    pub async fn adds_up_in_the_end(&mut self) {
        self.adds_up_with(&[]).await;
    }

    /// The same, and what clients were told is so.
    pub async fn adds_up_with(&mut self, told: &[Told]) {
        self.nobody_died().await;
        let mut world =
            load_quiet(&self.sources(), QUIET_LIMIT).await.unwrap_or_else(|error| panic!("{error:#}"));
        world.told = told.to_vec();
        report(audit(&world, &rules(true)));
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
        if self.dir.is_none() {
            return;
        }
        self.refresh().await;
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

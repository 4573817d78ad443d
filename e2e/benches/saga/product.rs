//! The product, measured by its own load generator as a user would.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use cli::{
    dev::{self, Options, Ports, Status},
    exit::Exit,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Deserialize;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{log::Log, results::Rebuilt, run::Run};

/// A broker is as fast as it gets after some hundred thousand requests, of which many orders at once make few.
const WARM_UP: [&str; 4] = ["--rate", "150/s", "--duration", "60s"];
/// Longer than a service gives itself to finish what it has begun.
const STOP_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
struct Projections {
    second: Second,
}

#[derive(Deserialize)]
struct Second {
    begun_at: DateTime<Utc>,
    filled_at: DateTime<Utc>,
    messages: u64,
}

pub(crate) struct Product {
    dir: PathBuf,
    program: PathBuf,
}

impl Product {
    /// Anew, as in production, with the payment provider in the process of payment-service; warmed up, measured, and
    /// stopped whatever came of it.
    pub(crate) async fn with<T>(
        dir: &Path,
        measure: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        // The programs lie beside the folder of this one.
        let us = std::env::current_exe()?;
        let program = us.ancestors().nth(2).context("this program lies in a target folder")?.join("fulfil");
        let product = Self { dir: dir.to_owned(), program };
        dev::down(dir, true, false).await?;
        let measured = tokio::select! {
            measured = async {
                product.up(1).await?;
                product.load(&WARM_UP).await?;
                measure(&product).await
            } => measured,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        };
        dev::down(dir, true, false).await?;
        measured
    }

    /// So many replicas of each service. There can be more than before, not fewer.
    pub(crate) async fn up(&self, replicas: u16) -> anyhow::Result<()> {
        // In development mode each service reads its own topic too.
        let environment = [("PAYMENT_PROVIDER", "simulated"), ("FULFIL_MODE", "production")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = Options {
            dir: self.dir.clone(),
            replicas: Some(replicas),
            ports: Ports::Auto,
            environment: BTreeMap::from(environment),
            progress: true,
            ..Options::default()
        };
        dev::up(&options).await.context("the system does not start")?;
        Ok(())
    }

    /// In good order, while Kafka and Postgres go on; `up` starts them again. Nothing where they do not run.
    pub(crate) async fn stop_services(&self) -> anyhow::Result<()> {
        for pid in self.status().await?.services.iter().filter_map(|service| service.pid) {
            kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        }
        let since = Instant::now();
        while self.status().await?.services.iter().any(|service| service.pid.is_some()) {
            ensure!(since.elapsed() < STOP_LIMIT, "a service does not stop");
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Of order-service.
    pub(crate) async fn log(&self) -> anyhow::Result<Log> {
        Log::open(&self.status().await?).await
    }

    pub(crate) async fn status(&self) -> anyhow::Result<Status> {
        dev::status(&self.dir).await?.context("it was started")
    }

    /// One that must take and complete every order.
    pub(crate) async fn load(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        self.load_run(arguments, &[Exit::Done]).await
    }

    /// Whether it takes all of it or not: 503 is an answer.
    pub(crate) async fn overload(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        self.load_run(arguments, &[Exit::Done, Exit::Partly]).await
    }

    async fn load_run(&self, arguments: &[&str], fine: &[Exit]) -> anyhow::Result<Run> {
        let mut command = Command::new(&self.program);
        command.args(["load", "run", "--json", "--dir"]).arg(&self.dir).args(arguments).kill_on_drop(true);
        let output = command.stderr(Stdio::inherit()).output().await?;
        if !fine.iter().any(|exit| output.status.code() == Some(*exit as i32)) {
            let told = String::from_utf8_lossy(&output.stdout);
            bail!("fulfil load run {} ended with {}: {told}", arguments.join(" "), output.status);
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Fills a second view from the topics' beginning, and drops it again.
    pub(crate) async fn rebuild(&self) -> anyhow::Result<Rebuilt> {
        self.projection(&["rebuild", "--wait"]).await?;
        let status: Projections = serde_json::from_slice(&self.projection(&["status", "--json"]).await?)?;
        self.projection(&["drop", "--yes"]).await?;
        let Second { begun_at, filled_at, messages } = status.second;
        Ok(Rebuilt { messages, seconds: (filled_at - begun_at).as_seconds_f64() })
    }

    async fn projection(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new(&self.program);
        command.arg("projection").args(arguments).arg("--dir").arg(&self.dir).kill_on_drop(true);
        let output = command.stderr(Stdio::inherit()).output().await?;
        ensure!(
            output.status.success(),
            "fulfil projection {} ended with {}",
            arguments.join(" "),
            output.status
        );
        Ok(output.stdout)
    }

    /// Batches that a service gave up because another replica had the partition, since each process began.
    pub(crate) async fn fenced_batches(&self) -> anyhow::Result<u64> {
        let mut counts = Vec::new();
        for service in self.status().await?.services {
            let metrics = reqwest::get(format!("{}/metrics", service.admin)).await?.text().await?;
            let counted = metrics.lines().filter_map(|line| line.strip_prefix("fulfil_fenced_batches_total"));
            counts.extend(counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()));
        }
        // Not that a counter of another name reads as nothing fenced.
        ensure!(!counts.is_empty(), "no service tells how many batches were fenced");
        Ok(counts.into_iter().sum())
    }
}

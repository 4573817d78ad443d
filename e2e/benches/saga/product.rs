//! The product, measured by its own load generator as a user would.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail};
use cli::dev::{self, Options, Ports, Status};
use serde_json::Value;
use tokio::process::Command;

pub(crate) struct Product {
    dir: PathBuf,
    program: PathBuf,
}

impl Product {
    /// Anew, as in production, with the payment provider in the process of payment-service.
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        // The programs lie beside the folder of this one.
        let us = std::env::current_exe()?;
        let program = us.ancestors().nth(2).context("this program lies in a target folder")?.join("fulfil");
        dev::down(dir, true, false).await?;
        // In development mode each service reads its own topic too.
        let environment = [("PAYMENT_PROVIDER", "simulated"), ("FULFIL_MODE", "production")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = Options {
            dir: dir.to_owned(),
            ports: Ports::Auto,
            environment: BTreeMap::from(environment),
            progress: true,
            ..Options::default()
        };
        dev::up(&options).await?;
        Ok(Self { dir: dir.to_owned(), program })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        dev::down(&self.dir, true, false).await?;
        Ok(())
    }

    pub(crate) async fn status(&self) -> anyhow::Result<Status> {
        dev::status(&self.dir).await?.context("it was started")
    }

    /// The object of `fulfil load run --json`.
    pub(crate) async fn load(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(["load", "run", "--json", "--dir"]).arg(&self.dir).args(arguments);
        let output = command.stderr(Stdio::inherit()).output().await?;
        if !output.status.success() {
            bail!("fulfil load run {} ended with {}", arguments.join(" "), output.status);
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

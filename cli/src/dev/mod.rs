//! `fulfil dev`: Kafka, Postgres, the payment provider and the four services as processes of this machine.
//!
//! A library too: the end-to-end tests and the demo start and stop systems with the same functions. No container, no
//! service manager; all that is known between two calls is in the folder's `state.json`.

mod state;
mod process;
mod ports;
mod plan;
mod ready;
mod progress;
mod kafka;
mod owner;
mod postgres;
mod standby;
mod services;
mod up;
mod restart;
mod promote;
mod down;
mod status;
mod provider;
mod addresses;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

pub use addresses::{Addresses, ServiceAddresses, addresses};
pub use down::down;
pub use kafka::data_of;
pub use ports::Ports;
pub use process::{Death, deaths};
pub use promote::promote;
pub use restart::restart;
pub use status::{ServerRole, ServerStatus, ServiceStatus, Status, status};
pub use up::{Options, up};

use crate::{
    exit::{Exit, ended},
    output::Output,
};

#[derive(Debug, Args)]
pub struct DevArgs {
    #[command(subcommand)]
    command: DevCommand,
}

#[derive(Debug, Subcommand)]
enum DevCommand {
    /// Start everything that does not run yet and return when it is ready
    Up(UpArgs),
    /// Stop everything; the data stays
    Down(DownArgs),
    /// Show what runs, where, and its log
    #[command(after_help = "Examples:
  fulfil dev status
  fulfil dev status --json")]
    Status(Folder),
    /// Start one process again, dead or alive
    Restart(RestartArgs),
    /// Let the standby of a cluster take the place of a dead primary
    ///
    /// Services notice by themselves. The server that died is the standby from then on: `dev restart` or `dev up` copies
    /// it anew, and commits wait for it again.
    #[command(after_help = "Examples:
  fulfil dev promote")]
    Promote(Folder),
    /// Be the simulated payment provider, with books on disk
    Provider(provider::ProviderArgs),
}

#[derive(Debug, Args)]
struct Folder {
    /// Where data, logs and state of this system live
    #[arg(long, env = "FULFIL_DIR", default_value = ".fulfil", value_name = "FOLDER")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil dev up
  fulfil dev up --replicas 2 --env HOLD_LIMIT=30s
  fulfil dev up --cluster --ports auto")]
struct UpArgs {
    #[command(flatten)]
    folder: Folder,
    /// Of each service [default: as many as last time, one at first]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9))]
    replicas: Option<u16>,
    #[arg(long, value_enum, default_value_t)]
    ports: Ports,
    /// Three brokers (replication 3, min ISR 2) and a Postgres primary with a synchronous standby, for as long as the
    /// folder lives
    #[arg(long)]
    cluster: bool,
    /// Kafka and Postgres alone, for the tests of the crates
    #[arg(long)]
    servers_only: bool,
    /// A setting for every service, kept for restarts (any number of times); servers, addresses and INSTANCE_ID are ours
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = name_and_value)]
    environment: Vec<(String, String)>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil dev down
  fulfil dev down --wipe")]
struct DownArgs {
    #[command(flatten)]
    folder: Folder,
    /// Remove the folder with all data and logs
    #[arg(long)]
    wipe: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil dev restart payment-service
  fulfil dev restart order-service --replica 1 --programs ../next/target/debug")]
struct RestartArgs {
    #[command(flatten)]
    folder: Folder,
    /// As `dev status` names it: a service, provider, kafka or postgres
    name: String,
    #[arg(long, value_name = "N", default_value_t = 0)]
    replica: u16,
    /// Of a service: run another build of it, from this folder, until told otherwise
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

pub async fn run(args: DevArgs, output: Output) -> anyhow::Result<ExitCode> {
    match args.command {
        DevCommand::Up(args) => {
            let options = Options {
                dir: args.folder.dir,
                replicas: args.replicas,
                ports: args.ports,
                cluster: args.cluster,
                servers_only: args.servers_only,
                postgres_through: None,
                environment: args.environment.into_iter().collect::<BTreeMap<_, _>>(),
                progress: true,
            };
            let status = up(&options).await?;
            if output.json {
                output.object(&status)?;
            }
        }
        DevCommand::Down(args) => {
            if !down(&args.folder.dir, args.wipe, true).await? {
                output.note(&format!("nothing was ever started in {}", args.folder.dir.display()));
            }
        }
        DevCommand::Status(folder) => {
            let status = status(&folder.dir).await?.ok_or_else(|| nothing_in(&folder.dir))?;
            status.show(output)?;
            if !status.anything_runs() {
                return Ok(Exit::NotFound.into());
            }
        }
        DevCommand::Restart(args) => {
            let RestartArgs { folder, name, replica, programs } = args;
            let status = restart(&folder.dir, &name, replica, programs.as_deref(), true).await?;
            if output.json {
                output.object(&status)?;
            }
        }
        DevCommand::Promote(folder) => {
            let status = promote(&folder.dir, true).await?;
            if output.json {
                output.object(&status)?;
            }
        }
        DevCommand::Provider(args) => provider::provide(args).await?,
    }
    Ok(Exit::Done.into())
}

fn nothing_in(dir: &Path) -> anyhow::Error {
    ended(Exit::NotFound, format!("nothing was ever started in {}: fulfil dev up", dir.display()))
}

fn name_and_value(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').context("a setting looks like NAME=VALUE")?;
    if services::OURS.contains(&name) {
        bail!("{name} is set for each process anew");
    }
    Ok((name.to_owned(), value.to_owned()))
}

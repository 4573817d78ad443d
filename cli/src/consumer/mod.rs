//! `fulfil consumer`: how the loops of the services stand in their partitions, and what only a person may decide about
//! it.

mod status;
mod resume;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use shared::consumer::operator::Standing;

use crate::{
    exit::{Exit, ended},
    output::Output,
    place::{Admin, Place, PlaceArgs},
    service,
};

#[derive(Debug, Args)]
pub struct ConsumerArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Of this service alone
    #[arg(long, value_name = "NAME", global = true)]
    service: Option<String>,
    /// Of this replica alone
    #[arg(long, value_name = "N", global = true)]
    replica: Option<u16>,
    /// The admin port of a process that `fulfil dev` does not run (any number of times)
    #[arg(long, value_name = "URL", global = true, conflicts_with_all = ["service", "replica"])]
    admin: Vec<String>,
    #[command(subcommand)]
    command: ConsumerCommand,
}

#[derive(Debug, Subcommand)]
enum ConsumerCommand {
    /// Partitions, how far behind they are, who pauses, and where messages are missing
    #[command(after_help = "Examples:
  fulfil consumer status
  fulfil consumer status --service order-service --json
  fulfil consumer status --admin http://10.0.0.7:9081")]
    Status,
    /// End the pause after too much poison, or give up messages that their topic has lost
    Resume(resume::ResumeArgs),
}

pub async fn run(args: ConsumerArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    let admins = match args.admin.is_empty() {
        true => known(&place, args.service.as_deref(), args.replica)?,
        false => named(&args.admin).await?,
    };
    match args.command {
        ConsumerCommand::Status => status::run(&admins, output).await,
        ConsumerCommand::Resume(args) => resume::run(&args, &admins, output).await,
    }
}

fn known(place: &Place, service: Option<&str>, replica: Option<u16>) -> anyhow::Result<Vec<Admin>> {
    let all = place.admins();
    let names: Vec<String> = all.iter().map(Admin::name).collect();
    let is_wanted = |admin: &Admin| {
        service.is_none_or(|service| admin.service == service)
            && replica.is_none_or(|replica| admin.replica == replica)
    };
    let admins: Vec<Admin> = all.into_iter().filter(is_wanted).collect();
    if admins.is_empty() {
        return Err(ended(Exit::NotFound, format!("there is no such process, but {}", names.join(", "))));
    }
    Ok(admins)
}

#[derive(Deserialize)]
struct Version {
    service: String,
}

async fn named(urls: &[String]) -> anyhow::Result<Vec<Admin>> {
    let mut admins = Vec::with_capacity(urls.len());
    for (replica, url) in (0..).zip(urls) {
        let url = url.trim_end_matches('/').to_owned();
        let Version { service } = service::get(&format!("{url}/version"), &[]).await?;
        admins.push(Admin { service, replica, url });
    }
    Ok(admins)
}

async fn standing(admin: &Admin) -> anyhow::Result<Standing> {
    service::get(&format!("{}/consumer", admin.url), &[]).await
}

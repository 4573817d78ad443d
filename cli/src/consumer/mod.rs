//! `fulfil consumer`: how the loops of the services stand in their partitions, and what only a person may decide about
//! it.

mod status;
mod resume;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use shared::consumer::operator::Standing;

use crate::{
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
    #[command(subcommand)]
    command: ConsumerCommand,
}

#[derive(Debug, Subcommand)]
enum ConsumerCommand {
    /// Partitions, how far behind they are, who pauses, and where messages are missing
    Status,
    /// End the pause after too much poison, or give up messages that their topic has lost
    Resume(resume::ResumeArgs),
}

pub async fn run(args: ConsumerArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    let admins = of_service(&place, args.service.as_deref())?;
    match args.command {
        ConsumerCommand::Status => status::run(&admins, output).await,
        ConsumerCommand::Resume(args) => resume::run(&args, &admins, output).await,
    }
}

fn of_service(place: &Place, service: Option<&str>) -> anyhow::Result<Vec<Admin>> {
    use crate::exit::{Exit, ended};
    let mut admins = place.admins();
    let names: Vec<String> = admins.iter().map(|admin| admin.service.clone()).collect();
    admins.retain(|admin| service.is_none_or(|service| admin.service == service));
    if admins.is_empty() {
        let text = format!("there is no service {}: {}", service.unwrap_or_default(), names.join(", "));
        return Err(ended(Exit::NotFound, text));
    }
    Ok(admins)
}

async fn standing(admin: &Admin) -> anyhow::Result<Standing> {
    service::get(&format!("{}/consumer", admin.url), &[]).await
}

//! `fulfil topic`: the topics of the contract, and what passes on them.

mod ensure;
mod list;
mod watch;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::{output::Output, place::PlaceArgs};

#[derive(Debug, Args)]
pub struct TopicArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Make the topics that are missing, and say where the others differ from the contract
    Ensure(ensure::EnsureArgs),
    /// Topics with their keys, partitions and messages
    List,
    /// One line an event, as they come
    Watch(watch::WatchArgs),
}

pub async fn run(args: TopicArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    match args.command {
        TopicCommand::Ensure(args) => ensure::run(&args, &place, output).await,
        TopicCommand::List => list::run(&place, output).await,
        TopicCommand::Watch(args) => watch::run(args, &place, output).await,
    }
}

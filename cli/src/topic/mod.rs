//! `fulfil topic`: the topics of the contract, what passes on them, and who is behind.

mod ensure;
mod list;
mod lag;
mod feed;
mod watch;
mod tui;

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
    #[command(after_help = "Examples:
  fulfil topic list
  fulfil topic list --json")]
    List,
    /// How far consumer groups are behind, in messages and in time
    Lag(lag::LagArgs),
    /// One line an event, as they come, or a table on the screen
    Watch(watch::WatchArgs),
}

pub async fn run(args: TopicArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    match args.command {
        TopicCommand::Ensure(args) => ensure::run(&args, &place, output).await,
        TopicCommand::List => list::run(&place, output).await,
        TopicCommand::Lag(args) => lag::run(args, &place, output).await,
        TopicCommand::Watch(args) => watch::run(args, &place, output).await,
    }
}

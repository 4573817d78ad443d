//! `fulfil order`: what a shop and its people do with orders.

mod create;
mod cancel;
mod follow;
mod resolve;
mod show;
mod list;
mod timeline;
mod held;
mod watch;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::{output::Output, place::PlaceArgs};

pub use follow::{Following, Outcome, Status};
pub use resolve::resolve;

#[derive(Debug, Args)]
pub struct OrderArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: OrderCommand,
}

#[derive(Debug, Subcommand)]
enum OrderCommand {
    /// Create an order, and wait for its end with --wait
    Create(create::CreateArgs),
    /// Cancel an order; what has happened already is undone
    Cancel(cancel::CancelArgs),
    /// One order as the read side sees it
    Get(show::GetArgs),
    /// Orders, newest first
    List(list::ListArgs),
    /// Every event of an order over all topics, and what it waits for
    Timeline(timeline::TimelineArgs),
    /// The same as it happens, until the order has ended
    Watch(watch::WatchArgs),
}

/// How a command reaches order-service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    #[default]
    Http,
    Topic,
}

pub async fn run(args: OrderArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    match args.command {
        OrderCommand::Create(args) => create::run(args, &place, output).await,
        OrderCommand::Cancel(args) => cancel::run(args, &place, output).await,
        OrderCommand::Get(args) => show::run(args, &place, output).await,
        OrderCommand::List(args) => list::run(args, &place, output).await,
        OrderCommand::Timeline(args) => timeline::run(args, &place, output).await,
        OrderCommand::Watch(args) => watch::run(args, &place, output).await,
    }
}

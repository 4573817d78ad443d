//! `fulfil dlq`: messages that could not be processed, and what becomes of them.

mod letters;
mod list;
mod show;
mod pick;
mod command;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::{output::Output, place::PlaceArgs};

pub use command::redrive_record;
pub use letters::{Letter, load};

#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// Dead letters that wait for somebody, oldest first
    List(list::ListArgs),
    /// One letter: its bytes, headers, error, history, and who waits behind it
    Show(show::ShowArgs),
    /// Have it processed again, as it was or mended
    Redrive(command::RedriveArgs),
    /// Give it up; what waits behind it goes on
    Discard(command::DiscardArgs),
}

pub async fn run(args: DlqArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    match args.command {
        DlqCommand::List(args) => list::run(&args, &place, output).await,
        DlqCommand::Show(args) => show::run(&args, &place, output).await,
        DlqCommand::Redrive(args) => command::redrive(args, &place, output).await,
        DlqCommand::Discard(args) => command::discard(args, &place, output).await,
    }
}

//! `fulfil dlq`: messages that could not be processed, and what becomes of them.

mod letters;
mod list;
mod groups;
mod show;
mod pick;
mod which;
mod value;
mod command;
mod bulk;
mod edit;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::{output::Output, place::PlaceArgs};

pub use command::redrive_record;
pub use letters::{ABOUT, Letter, load};

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
    /// What is wrong, how often and since when: letters that failed for one reason are one line
    Groups(groups::GroupsArgs),
    /// One letter: its bytes, headers, error, history, and who waits behind it
    Show(show::ShowArgs),
    /// Have letters processed again: one as it was or mended, or all that are alike
    Redrive(command::RedriveArgs),
    /// Mend the value of a letter in an editor, field by field or from a file, and have it processed
    Edit(edit::EditArgs),
    /// Give letters up; what waits behind them goes on
    Discard(command::DiscardArgs),
}

pub async fn run(args: DlqArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    match args.command {
        DlqCommand::List(args) => list::run(&args, &place, output).await,
        DlqCommand::Groups(args) => groups::run(args, &place, output).await,
        DlqCommand::Show(args) => show::run(&args, &place, output).await,
        DlqCommand::Redrive(args) => command::redrive(args, &place, output).await,
        DlqCommand::Edit(args) => edit::run(args, &place, output).await,
        DlqCommand::Discard(args) => command::discard(args, &place, output).await,
    }
}

//! `fulfil projection`: the view that serves, and a second one that is filled beside it, compared, and put in its place.

mod ask;
mod status;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::{
    output::Output,
    place::{Place, PlaceArgs},
    service,
};

#[derive(Debug, Args)]
pub struct ProjectionArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: ProjectionCommand,
}

#[derive(Debug, Subcommand)]
enum ProjectionCommand {
    /// The view that serves and the second one: how far it is filled, how fast, how long it takes
    #[command(after_help = "Examples:
  fulfil projection status
  fulfil projection status --json")]
    Status,
    /// Fill a second view from the topics' beginning, while the first one serves
    Rebuild(ask::RebuildArgs),
    /// Compare the two, row by row; exit 1 where they differ
    #[command(after_help = "Examples:
  fulfil projection verify")]
    Verify,
    /// Put the second view in the place of the one that serves
    #[command(after_help = "Examples:
  fulfil projection switch --dry-run
  fulfil projection switch --yes --timeout 10m")]
    Switch(ask::ChangeArgs),
    /// Put the view that served before in its place again
    #[command(after_help = "Examples:
  fulfil projection rollback --dry-run
  fulfil projection rollback --yes")]
    Rollback(ask::ChangeArgs),
    /// Give the second view up
    Drop(ask::DropArgs),
}

pub async fn run(args: ProjectionArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    match args.command {
        ProjectionCommand::Status => status::run(&place, output).await,
        ProjectionCommand::Rebuild(args) => ask::rebuild(&args, &place, output).await,
        ProjectionCommand::Verify => verify::run(&place, output).await,
        ProjectionCommand::Switch(args) => ask::switch(&args, &place, output).await,
        ProjectionCommand::Rollback(args) => ask::rollback(&args, &place, output).await,
        ProjectionCommand::Drop(args) => ask::drop(&args, &place, output).await,
    }
}

/// As the projector tells it, and as it is printed with `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Projections {
    served: Served,
    second: Option<Second>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Served {
    begun_at: String,
    build: Option<String>,
    lag_ms: i64,
    /// Orders of which it said something else than their topics.
    drift: Vec<Drift>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Drift {
    order_id: String,
    found_at: String,
    what: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Second {
    begun_at: String,
    build: Option<String>,
    filled_at: Option<String>,
    state: State,
    messages: i64,
    messages_total: i64,
    per_second: Option<f64>,
    seconds_left: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Filling,
    Following,
    Switching,
    Resting,
    Stopped,
}

async fn look(place: &Place) -> anyhow::Result<Projections> {
    service::get(&format!("{}/projections", place.projector), &[]).await
}

//! `fulfil demo`: one order down each path of the saga, told as it happens, and checked.

mod stage;
mod stories;
mod summary;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use crate::{
    audit::{self, Rules, Sources, Violation},
    dev, doctor,
    exit::Exit,
    output::{Output, Tone},
    place::{Place, PlaceArgs},
};
use stage::{Stage, Told};

const QUIET_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil demo
  fulfil demo --ports auto --stop")]
pub struct DemoArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Where nothing runs yet: the contract's ports, or any that are free
    #[arg(long, value_enum, default_value_t)]
    ports: dev::Ports,
    /// Stop the system at the end also on a terminal
    #[arg(long)]
    stop: bool,
}

pub async fn run(args: DemoArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (place, started) = system(&args).await?;
    let ended = tokio::select! {
        ended = tell(&place, output) => ended,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    };
    let stays = output.terminal && !args.stop && !matches!(ended, Ok(Exit::Interrupted));
    if started && stays {
        output.note("\nThe system goes on running. Ctrl-C stops it (its data stays in place).");
        // An error here means that there is no signal to wait for: stop.
        let _ = tokio::signal::ctrl_c().await;
    }
    if started {
        dev::down(&place.dir, false, true).await?;
    }
    ended.map(ExitCode::from)
}

/// What runs already, else what we start. The second says whether it was us.
async fn system(args: &DemoArgs) -> anyhow::Result<(Place, bool)> {
    let place = args.place.resolve()?;
    if doctor::is_well(&place).await {
        return Ok((place, false));
    }
    let dir: PathBuf = place.dir.clone();
    let before = dev::status(&dir).await?;
    let ran = before.is_some_and(|status| status.anything_runs());
    dev::up(&dev::Options { dir, ports: args.ports, progress: true, ..dev::Options::default() }).await?;
    Ok((args.place.resolve()?, !ran))
}

async fn tell(place: &Place, output: Output) -> anyhow::Result<Exit> {
    let mut stage = Stage::open(place, output).await?;
    let told = stories::all(&mut stage).await?;
    let violations = adds_up(place).await?;
    summary::show(&told, violations.as_deref(), place, output)?;
    let is_right = told.iter().all(|told| told.wrong.is_empty());
    let adds_up = violations.is_none_or(|violations| violations.is_empty());
    if is_right && adds_up {
        return Ok(Exit::Done);
    }
    output.note_toned(
        Tone::Bad,
        "a story ended wrong: fulfil doctor, and the logs that fulfil dev status names",
    );
    Ok(Exit::Failed)
}

/// `None` where the databases cannot be seen.
async fn adds_up(place: &Place) -> anyhow::Result<Option<Vec<Violation>>> {
    let Some(sources) = Sources::of(place) else { return Ok(None) };
    let world = audit::load_quiet(&sources, QUIET_LIMIT).await?;
    let quiet = world.is_quiet();
    Ok(Some(audit::audit(&world, &Rules { quiet, ..Rules::default() })))
}

//! What an operator asks of the second view, and waits for.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use shared::config::duration;

use super::{Projections, State, look, status::progress};
use crate::{
    exit::{self, Exit, ended},
    output::{Output, Tone},
    place::Place,
    service,
};

const POLL: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil projection rebuild --wait
  fulfil projection rebuild --dry-run")]
pub(super) struct RebuildArgs {
    /// Wait until it has all that is on the topics
    #[arg(short, long)]
    wait: bool,
    /// How long to wait, at most
    #[arg(long, default_value = "1h", value_parser = duration::parse, value_name = "DURATION")]
    timeout: Duration,
    /// Drop the view that served before, if it rests, without asking
    #[arg(short, long)]
    yes: bool,
    /// Show what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Show what would be done
    #[arg(long)]
    dry_run: bool,
    /// How long to wait until it serves, at most
    #[arg(long, default_value = "5m", value_parser = duration::parse, value_name = "DURATION")]
    timeout: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil projection drop --dry-run
  fulfil projection drop --yes")]
pub(super) struct DropArgs {
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Show what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn rebuild(args: &RebuildArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let second = look(place).await?.second;
    let rests = second.is_some_and(|second| second.state == State::Resting);
    if args.dry_run {
        output.line(match rests {
            true => "a second view would be filled; the one that served before and rests would be dropped",
            false => "a second view would be filled",
        });
        return Ok(Exit::Done.into());
    }
    if rests && !args.yes {
        let text = "the view that served before rests and would be dropped: that takes --yes";
        return Err(ended(Exit::Usage, text));
    }
    ask(place, "rebuild").await?;
    if !args.wait {
        output.note("a second view is being filled: fulfil projection status");
        return Ok(Exit::Done.into());
    }
    let bar = bar(output.terminal);
    let until = Instant::now() + args.timeout;
    loop {
        let Some(second) = look_until(place, until).await?.second else {
            return Err(ended(Exit::Failed, "somebody dropped the second view"));
        };
        bar.set_length(second.messages_total.unsigned_abs());
        bar.set_position(second.messages.unsigned_abs());
        bar.set_message(progress(&second));
        match second.state {
            State::Stopped => {
                let text = "it cannot go on: see the log of the projector";
                return Err(ended(Exit::Failed, text));
            }
            State::Filling if Instant::now() > until => {
                return Err(ended(Exit::Waited, format!("it goes on: {}", progress(&second))));
            }
            State::Filling => tokio::time::sleep(POLL).await,
            State::Following | State::Switching | State::Resting => {
                bar.finish_and_clear();
                output.note_toned(Tone::Good, &format!("filled: {}", progress(&second)));
                return Ok(Exit::Done.into());
            }
        }
    }
}

pub(super) async fn switch(args: &ChangeArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    change(args, "switch", "the second view would take the place of the one that serves", place, output).await
}

pub(super) async fn rollback(args: &ChangeArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let would = "the view that served before would take in what it missed and serve again";
    change(args, "rollback", would, place, output).await
}

/// Waits until the other one serves.
async fn change(
    args: &ChangeArgs,
    verb: &str,
    would: &str,
    place: &Place,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let Projections { served, second } = look(place).await?;
    let Some(second) = second else {
        return Err(ended(Exit::Refused, "there is no second view: fulfil projection rebuild"));
    };
    if args.dry_run {
        output.line(would);
        return Ok(Exit::Done.into());
    }
    if !args.yes {
        return Err(ended(Exit::Usage, format!("{would}: that takes --yes (or look first: --dry-run)")));
    }
    ask(place, verb).await?;
    let until = Instant::now() + args.timeout;
    loop {
        let now = look_until(place, until).await?;
        if now.served.begun_at == second.begun_at && now.served.begun_at != served.begun_at {
            let text = format!("the view that was begun at {} serves", second.begun_at);
            output.note_toned(Tone::Good, &text);
            return Ok(Exit::Done.into());
        }
        let given_up = match now.second.map(|second| second.state) {
            None => Some("somebody dropped it"),
            Some(State::Stopped) => Some("it cannot go on: see the log of the projector"),
            Some(State::Following) => Some(
                "it did not come level with the view that serves in time, and goes on following it: fulfil \
                 projection switch --yes",
            ),
            Some(State::Filling | State::Switching | State::Resting) => None,
        };
        if let Some(why) = given_up {
            return Err(ended(Exit::Failed, why));
        }
        if Instant::now() > until {
            return Err(ended(Exit::Waited, "it does not serve yet, and goes on: fulfil projection status"));
        }
        tokio::time::sleep(POLL).await;
    }
}

pub(super) async fn drop(args: &DropArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    if args.dry_run {
        output.line("the second view would be dropped");
        return Ok(Exit::Done.into());
    }
    if !args.yes {
        return Err(ended(Exit::Usage, "to drop the second view takes --yes (or look first: --dry-run)"));
    }
    ask(place, "drop").await?;
    output.note("the second view is dropped");
    Ok(Exit::Done.into())
}

/// A projector that is started again meanwhile goes on with it.
async fn look_until(place: &Place, until: Instant) -> anyhow::Result<Projections> {
    loop {
        match look(place).await {
            Err(error) if exit::of(&error) == Exit::Unreachable && Instant::now() < until => {
                tokio::time::sleep(POLL).await;
            }
            looked => return looked,
        }
    }
}

async fn ask(place: &Place, verb: &str) -> anyhow::Result<()> {
    let url = format!("{}/projections/{verb}", place.projector);
    service::post::<Value>(&url, &json!({}), &[]).await?;
    Ok(())
}

fn bar(shown: bool) -> ProgressBar {
    if !shown {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}") {
        bar.set_style(style);
    }
    bar
}

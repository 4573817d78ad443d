//! `fulfil consumer resume`: the word that a loop waits for.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use shared::consumer::operator::{Accepted, Named, Partition, Resumed, Standing};

use super::standing;
use crate::{
    exit::{self, Exit, ended},
    output::{Output, Tone},
    place::Admin,
    service,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil consumer resume
  fulfil consumer resume --service payment-service --dry-run
  fulfil consumer resume --accept-data-loss orders.events:3 --yes")]
pub(super) struct ResumeArgs {
    /// Give up what this partition has lost, and go on with what it has (any number of times); no pause is ended then
    #[arg(long, value_name = "TOPIC:PARTITION")]
    accept_data_loss: Vec<Named>,
    /// Do it without asking; giving messages up takes it
    #[arg(short, long)]
    yes: bool,
    /// Show what would be done
    #[arg(long)]
    dry_run: bool,
}

/// A process, and what is to be done there.
struct Concerned<'a> {
    admin: &'a Admin,
    paused: bool,
    missing: Vec<&'a Named>,
}

#[derive(Serialize)]
struct ResumedObject<'a> {
    service: &'a str,
    replica: u16,
    #[serde(flatten)]
    resumed: &'a Resumed,
}

#[derive(Serialize)]
struct WouldObject<'a> {
    service: &'a str,
    replica: u16,
    paused: bool,
    would_accept: Vec<String>,
}

/// Exit 4 where there is nothing of what is named; 7 where nobody answers, 5 where some do not.
pub(super) async fn run(args: &ResumeArgs, admins: &[Admin], output: Output) -> anyhow::Result<ExitCode> {
    let (concerned, mut failed) = look(args, admins, output).await;
    let is_found = |named: &&Named| concerned.iter().any(|concerned| concerned.missing.contains(named));
    if let Some(named) = args.accept_data_loss.iter().find(|named| !is_found(named)) {
        let text = format!("no loss is suspected at {named}: fulfil consumer status");
        return Err(failed.pop().unwrap_or_else(|| ended(Exit::Refused, text)));
    }
    if args.dry_run {
        return would(&concerned, output);
    }
    if !args.accept_data_loss.is_empty() && !args.yes {
        return Err(ended(Exit::Usage, "to give messages up takes --yes (or look first: --dry-run)"));
    }
    let mut done = 0;
    for Concerned { admin, missing, .. } in &concerned {
        let names: Vec<String> = missing.iter().map(|named| named.to_string()).collect();
        let url = format!("{}/consumer/resume", admin.url);
        match service::post::<Resumed>(&url, &json!({"accept_data_loss": names}), &[]).await {
            Ok(resumed) => {
                done += 1;
                show(admin, &resumed, output)?;
            }
            Err(error) => {
                output.note_toned(Tone::Bad, &format!("{}: {error:#}", admin.name()));
                failed.push(error);
            }
        }
    }
    Ok(match failed.first() {
        None => Exit::Done,
        Some(_) if done > 0 => Exit::Partly,
        Some(error) => exit::of(error),
    }
    .into())
}

/// Who is concerned; those that do not answer are said.
async fn look<'a>(
    args: &'a ResumeArgs,
    admins: &'a [Admin],
    output: Output,
) -> (Vec<Concerned<'a>>, Vec<anyhow::Error>) {
    let (mut concerned, mut failed) = (Vec::new(), Vec::new());
    for admin in admins {
        let standing = match standing(admin).await {
            Ok(standing) => standing,
            Err(error) => {
                output.note_toned(Tone::Bad, &format!("{}: {error:#}", admin.name()));
                failed.push(error);
                continue;
            }
        };
        let mut missing = Vec::new();
        for named in &args.accept_data_loss {
            if let Some(why) = suspicion(&standing, named) {
                output.note(&format!("{}: {why}", admin.name()));
                missing.push(named);
            }
        }
        if !missing.is_empty() || args.accept_data_loss.is_empty() {
            concerned.push(Concerned { admin, paused: standing.paused_ms > 0, missing });
        }
    }
    (concerned, failed)
}

fn suspicion<'a>(standing: &'a Standing, Named((topic, partition)): &Named) -> Option<&'a String> {
    let is_it = |of: &&Partition| of.topic == topic.name() && of.partition == *partition;
    standing.partitions.iter().find(is_it)?.suspected.as_ref()
}

fn would(concerned: &[Concerned<'_>], output: Output) -> anyhow::Result<ExitCode> {
    for Concerned { admin, paused, missing } in concerned {
        let (service, replica, paused) = (&*admin.service, admin.replica, *paused);
        let would_accept: Vec<String> = missing.iter().map(|named| named.to_string()).collect();
        if output.json {
            output.object(&WouldObject { service, replica, paused, would_accept })?;
            continue;
        }
        let name = admin.name();
        match (would_accept.is_empty(), paused) {
            (false, _) => output.line(&format!("{name} would give up what {} lost", would_accept.join(", "))),
            (true, true) => output.line(&format!("{name} would pause no longer")),
            (true, false) => output.line(&format!("{name} does not pause")),
        }
    }
    Ok(Exit::Done.into())
}

fn show(admin: &Admin, resumed: &Resumed, output: Output) -> anyhow::Result<()> {
    if output.json {
        return output.object(&ResumedObject { service: &admin.service, replica: admin.replica, resumed });
    }
    let name = admin.name();
    match (resumed.paused, resumed.accepted.is_empty()) {
        (true, _) => output.line(&format!("{name} pauses no longer")),
        (false, true) => output.line(&format!("{name} did not pause")),
        (false, false) => {}
    }
    for Accepted { topic, partition, from, to } in &resumed.accepted {
        output.line(&format!("{name} goes on with {topic}:{partition} at {to} instead of {from}"));
    }
    Ok(())
}

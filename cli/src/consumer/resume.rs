//! `fulfil consumer resume`: the word that a loop waits for.

use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::consumer::operator::{Accepted, Named};

use super::standing;
use crate::{
    exit::{Exit, ended},
    output::Output,
    place::Admin,
    service,
};

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// Give up what this partition has lost, and go on with what it has (any number of times)
    #[arg(long, value_name = "TOPIC:PARTITION")]
    accept_data_loss: Vec<Named>,
    /// Do it without asking; giving messages up takes it
    #[arg(short, long)]
    yes: bool,
    /// Show what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Deserialize)]
struct Resumed {
    accepted: Vec<Accepted>,
}

#[derive(Serialize)]
struct ResumedObject<'a> {
    service: &'a str,
    replica: u16,
    accepted: Vec<Accepted>,
}

pub(super) async fn run(args: &ResumeArgs, admins: &[Admin], output: Output) -> anyhow::Result<ExitCode> {
    let mut concerned = Vec::new();
    let mut unknown = args.accept_data_loss.clone();
    for admin in admins {
        let standing = standing(admin).await?;
        let is_missing = |named: &Named| {
            standing
                .partitions
                .iter()
                .any(|of| of.suspected.is_some() && of.topic == named.0.0.name() && of.partition == named.0.1)
        };
        let missing: Vec<Named> = args.accept_data_loss.iter().copied().filter(is_missing).collect();
        unknown.retain(|named| !missing.contains(named));
        for partition in &standing.partitions {
            let Some(why) = &partition.suspected else { continue };
            if missing
                .iter()
                .any(|named| named.to_string() == format!("{}:{}", partition.topic, partition.partition))
            {
                output.note(&format!("{}: {why}", admin.name()));
            }
        }
        let pauses = standing.paused_ms > 0;
        if !missing.is_empty() || args.accept_data_loss.is_empty() {
            concerned.push((admin, missing, pauses));
        }
    }
    if let Some(named) = unknown.first() {
        let text = format!("no loss is suspected at {named}: fulfil consumer status");
        return Err(ended(Exit::Refused, text));
    }
    if args.dry_run {
        for (admin, missing, pauses) in concerned {
            let gives_up = missing.iter().map(|named| format!(", gives up what {named} has lost"));
            let ends = if pauses { "ends its pause" } else { "does not pause" };
            output.line(&format!("{}: {ends}{}", admin.name(), gives_up.collect::<String>()));
        }
        return Ok(Exit::Done.into());
    }
    if !args.accept_data_loss.is_empty() && !args.yes {
        let text = "to give messages up takes --yes (or look first: --dry-run)";
        return Err(ended(Exit::Usage, text));
    }
    for (admin, missing, pauses) in concerned {
        let names: Vec<String> = missing.iter().map(Named::to_string).collect();
        let url = format!("{}/consumer/resume", admin.url);
        let resumed: Resumed = service::post(&url, &json!({"accept_data_loss": names}), &[]).await?;
        if output.json {
            let (service, replica) = (&admin.service, admin.replica);
            output.object(&ResumedObject { service, replica, accepted: resumed.accepted })?;
            continue;
        }
        let name = admin.name();
        if pauses {
            output.line(&format!("{name} pauses no longer"));
        }
        for Accepted { topic, partition, from, to } in resumed.accepted {
            output.line(&format!("{name} goes on with {topic}:{partition} at {to} instead of {from}"));
        }
    }
    Ok(Exit::Done.into())
}

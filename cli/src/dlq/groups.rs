//! `fulfil dlq groups`: what is wrong, how often, and since when.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use shared::contract::Timestamp;

use crate::{
    exit::Exit,
    output::{Column, Output, Tone, ago, count},
    place::Place,
    service,
};

const MESSAGE_CHARS_MAX: usize = 60;
/// As many as the projector gives.
const GROUPS_MAX: usize = 200;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil dlq groups                                   what waits for somebody, most first
  fulfil dlq groups --group order-service --json
  fulfil dlq redrive --fingerprint 9c41d2e07ab35f18 --dry-run")]
pub(super) struct GroupsArgs {
    /// Of one consumer group, such as order-service
    #[arg(long)]
    group: Option<String>,
    /// With this error code, such as invalid-json
    #[arg(long)]
    code: Option<String>,
    /// That failed for this reason
    #[arg(long)]
    fingerprint: Option<String>,
    /// Count only letters with this status: open (dead, failed-again or parked), dead, failed-again, parked, redriven, discarded
    #[arg(long)]
    status: Option<String>,
    /// Also those of which every letter is done with
    #[arg(short, long)]
    all: bool,
}

/// As the projector answers.
#[derive(Debug, Deserialize)]
struct Groups {
    groups: Vec<Value>,
}

pub(super) async fn run(args: GroupsArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let shows_all = args.all || args.status.is_some();
    let query = [
        ("status", args.status.unwrap_or_default()),
        ("group", args.group.unwrap_or_default()),
        ("code", args.code.unwrap_or_default()),
        ("fingerprint", args.fingerprint.unwrap_or_default()),
    ];
    let url = format!("{}/dead-letters/groups", place.projector);
    let Groups { groups } = service::get(&url, &query).await?;
    if groups.len() == GROUPS_MAX {
        output.note(&format!(
            "the {GROUPS_MAX} groups of which most letters wait; there may be others (--group, --code)"
        ));
    }
    let shown: Vec<&Value> = groups.iter().filter(|group| shows_all || waits(group)).collect();
    if output.json {
        for group in shown {
            output.object(group)?;
        }
        return Ok(Exit::Done.into());
    }
    if shown.is_empty() {
        output.note(&match groups.len() {
            0 => "no dead letters".to_owned(),
            done => format!("no dead letters wait; {done} groups of them are done with (--all)"),
        });
        return Ok(Exit::Done.into());
    }
    let now = chrono::Utc::now();
    let columns = [
        Column::Left("FINGERPRINT"),
        Column::Left("GROUP"),
        Column::Left("CODE"),
        Column::Right("LETTERS"),
        Column::Right("OPEN"),
        // Of those.
        Column::Right("PARKED"),
        Column::Right("KEYS"),
        Column::Left("LAST HOUR"),
        Column::Right("FIRST"),
        Column::Right("LAST"),
        Column::Left("WHY"),
    ];
    output.table(&columns, shown.into_iter().map(|group| row(group, now, output)).collect());
    Ok(Exit::Done.into())
}

/// Whether somebody has to do something about it.
fn waits(group: &Value) -> bool {
    number(&group["open"]) > 0
}

fn row(group: &Value, now: Timestamp, output: Output) -> Vec<String> {
    let text = |field: &str| group[field].as_str().unwrap_or_default();
    let since = |field: &str| text(field).parse().map(|time| ago(time, now)).unwrap_or_default();
    let trend: Vec<i64> = group["trend"].as_array().into_iter().flatten().map(number).collect();
    let open = count(number(&group["open"]));
    vec![
        text("fingerprint").to_owned(),
        text("group").to_owned(),
        text("code").to_owned(),
        count(number(&group["letters"])),
        if waits(group) { output.paint(Tone::Bad, &open) } else { open },
        count(number(&group["statuses"]["parked"])),
        count(number(&group["keys"])),
        if output.terminal { bars(&trend) } else { numbers(&trend) },
        since("first_failed_at"),
        since("last_failed_at"),
        text("message").chars().take(MESSAGE_CHARS_MAX).collect(),
    ]
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn numbers(trend: &[i64]) -> String {
    trend.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

/// As high as the highest of them; what is nothing is a dot.
fn bars(trend: &[i64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = trend.iter().copied().max().unwrap_or_default().max(1);
    let bar = |count: &i64| match usize::try_from((count * 8 + highest - 1) / highest) {
        Ok(height @ 1..) => BARS[(height - 1).min(7)],
        _ => '·',
    };
    trend.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_seen_at_a_glance() {
        assert_eq!(bars(&[0, 1, 8, 4]), "·▁█▄");
        assert_eq!(bars(&[0, 0]), "··");
        assert_eq!(bars(&[1, 1_000]), "▁█");
        assert_eq!(numbers(&[0, 12]), "0,12");
    }
}

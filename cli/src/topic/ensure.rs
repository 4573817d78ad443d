//! `fulfil topic ensure`. What exists is left as it is: partitions and retention of a topic in use are an operator's
//! decision.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use shared::{broker::topics::ensure_topics, contract::topics::PARTITIONS_DEFAULT};

use crate::{
    exit::Exit,
    output::{Column, Output, Tone},
    place::Place,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil topic ensure
  fulfil topic ensure --partitions 12 --replication 3")]
pub(super) struct EnsureArgs {
    /// Of each topic; the same for all, so that one key is on one replica
    #[arg(long, default_value_t = PARTITIONS_DEFAULT, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Copies of each partition [default: what the cluster says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    replication: Option<i32>,
}

#[derive(Serialize)]
struct EnsuredObject<'a> {
    topic: &'a str,
    created: bool,
    partitions: i32,
    differences: &'a [String],
}

pub(super) async fn run(args: &EnsureArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    // -1 is the cluster's own default.
    let ensured = ensure_topics(&place.broker, args.partitions, args.replication.unwrap_or(-1)).await?;
    let differ = ensured.iter().filter(|topic| !topic.differences.is_empty()).count();
    let mut rows = Vec::with_capacity(ensured.len());
    for topic in &ensured {
        if output.json {
            output.object(&EnsuredObject {
                topic: topic.topic.name(),
                created: topic.created,
                partitions: topic.partitions,
                differences: &topic.differences,
            })?;
            continue;
        }
        let what = match (topic.created, topic.differences.is_empty()) {
            (true, _) => output.paint(Tone::Good, "made"),
            (false, true) => "was there".to_owned(),
            (false, false) => output.paint(Tone::Warn, &topic.differences.join("; ")),
        };
        rows.push(vec![topic.topic.to_string(), topic.partitions.to_string(), what]);
    }
    if !output.json {
        output.table(&[Column::Left("TOPIC"), Column::Right("PARTITIONS"), Column::Left("STATE")], rows);
    }
    if differ > 0 {
        output.note(&format!("{differ} topics differ from the contract and were left as they are"));
        return Ok(Exit::Partly.into());
    }
    Ok(Exit::Done.into())
}

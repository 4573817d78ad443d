//! `fulfil consumer status`: one line a process, and one for each partition of which nothing is read.

use std::{process::ExitCode, time::Duration};

use serde::Serialize;
use shared::consumer::operator::Standing;

use super::standing;
use crate::{
    exit::Exit,
    output::{Column, Output, Tone, count, duration},
    place::Admin,
};

#[derive(Serialize)]
struct ConsumerObject<'a> {
    service: &'a str,
    replica: u16,
    #[serde(flatten)]
    standing: &'a Standing,
}

/// Exit 7 where a process does not answer; the others are shown.
pub(super) async fn run(admins: &[Admin], output: Output) -> anyhow::Result<ExitCode> {
    let (mut rows, mut missing, mut silent) = (Vec::new(), Vec::new(), false);
    for admin in admins {
        let name = admin.name();
        let standing = match standing(admin).await {
            Ok(standing) => standing,
            Err(error) => {
                output.note_toned(Tone::Bad, &format!("{name}: {error:#}"));
                silent = true;
                continue;
            }
        };
        if output.json {
            output.object(&ConsumerObject {
                service: &admin.service,
                replica: admin.replica,
                standing: &standing,
            })?;
            continue;
        }
        let partitions = standing.partitions.len();
        let behind: i64 =
            standing.partitions.iter().filter_map(|of| Some((of.end? - of.next.unwrap_or(0)).max(0))).sum();
        let suspected: Vec<&String> =
            standing.partitions.iter().filter_map(|of| of.suspected.as_ref()).collect();
        let state = match (suspected.len(), standing.paused_ms) {
            (0, 0) => output.paint(Tone::Good, "reading"),
            (0, ms) => {
                let left = duration(Duration::from_millis(ms));
                output.paint(Tone::Warn, &format!("pauses for {left}: over half was poison"))
            }
            (number, _) => output.paint(Tone::Bad, &format!("does not read {number}: messages are missing")),
        };
        missing.extend(suspected.into_iter().map(|why| format!("{name}: {why}")));
        rows.push(vec![name, count(partitions as i64), count(behind), state]);
    }
    if !output.json {
        let columns = [
            Column::Left("CONSUMER"),
            Column::Right("PARTITIONS"),
            Column::Right("BEHIND"),
            Column::Left("STATE"),
        ];
        output.table(&columns, rows);
        for line in missing {
            output.note_toned(Tone::Bad, &line);
        }
    }
    Ok(if silent { Exit::Unreachable } else { Exit::Done }.into())
}

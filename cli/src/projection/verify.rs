//! `fulfil projection verify`: what the two views say differently.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    exit::Exit,
    output::{Column, Output, Tone, count},
    place::Place,
    service,
};

#[derive(Debug, Serialize, Deserialize)]
struct Compared {
    rows: Vec<Rows>,
    different: usize,
    differences: Vec<Difference>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Rows {
    table: String,
    served: i64,
    second: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Difference {
    table: String,
    key: String,
    served: Value,
    second: Value,
}

pub(super) async fn run(place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let url = format!("{}/projections/verify", place.projector);
    // Both views are read whole.
    let compared: Compared = loop {
        if let Some(compared) = service::post_until(&url, &json!({})).await? {
            break compared;
        }
    };
    let exit = if compared.different == 0 { Exit::Done } else { Exit::Failed };
    if output.json {
        output.object(&compared)?;
        return Ok(exit.into());
    }
    let rows = compared.rows.iter().map(|Rows { table, served, second }| {
        // Counted at one moment, at which one of them may be ahead.
        vec![table.clone(), count(*served), count(*second)]
    });
    output.table(&[Column::Left("TABLE"), Column::Right("SERVED"), Column::Right("SECOND")], rows.collect());
    for Difference { table, key, served, second } in &compared.differences {
        output.line(&format!("{table} {}", output.paint(Tone::Bad, key)));
        output.line(&format!("  served {served}"));
        output.line(&format!("  second {second}"));
    }
    match compared.different {
        0 => output.note_toned(Tone::Good, "the two views say the same"),
        number => output
            .note_toned(Tone::Bad, &format!("{number} differ, {} of them shown", compared.differences.len())),
    }
    Ok(exit.into())
}

//! The value that is sent instead of a letter's own.

use std::io::{self, Read};

use anyhow::Context;
use serde_json::Value;
use shared::contract::limits::REDRIVE_BYTES_MAX;

use super::Letter;
use crate::{
    event::Assignment,
    exit::{Exit, ended},
    output::short,
};

/// Byte for byte; - is standard input.
pub(super) fn of_file(file: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match file {
        "-" => io::stdin().read_to_end(&mut bytes).map(|_| bytes).context("standard input cannot be read"),
        path => std::fs::read(path).with_context(|| format!("{path} cannot be read")),
    }
}

/// The letter's own with these fields in place of its own.
pub(super) fn with(letter: &Letter, assignments: &[Assignment]) -> anyhow::Result<Vec<u8>> {
    let json = serde_json::from_slice(letter.value.as_deref().unwrap_or_default());
    let mut json: Value = json.map_err(|error| {
        let id = short(&letter.id);
        let text = format!(
            "the value is not JSON ({error}), so no field of it can be set: mend it in a file, with fulfil dlq show \
             {id} --raw"
        );
        ended(Exit::Refused, text)
    })?;
    assignments.iter().for_each(|assignment| assignment.apply(&mut json, 0));
    Ok(json.to_string().into_bytes())
}

pub(super) fn check_size(value: &[u8]) -> anyhow::Result<()> {
    if value.len() > REDRIVE_BYTES_MAX {
        return Err(ended(Exit::Refused, format!("a mended value has at most {REDRIVE_BYTES_MAX} bytes")));
    }
    Ok(())
}

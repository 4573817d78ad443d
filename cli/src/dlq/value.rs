//! The value that is sent instead of a letter's own.

use std::io::{self, Read};

use anyhow::Context;
use bytes::Bytes;
use serde_json::Value;
use shared::{
    contract::{
        Malformed,
        envelope::{Headers, Raw},
        limits::REDRIVE_BYTES_MAX,
        topics::Topic,
    },
    mend::{self, REASON_CHARS_MAX},
};

use super::{Letter, show::printable};
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

/// Of whoever mends it.
pub(super) fn check_reason(reason: &str) -> anyhow::Result<()> {
    if reason.chars().count() > REASON_CHARS_MAX {
        let text = format!(
            "--reason has 1 to {REASON_CHARS_MAX} characters here, so that what was changed has room beside it"
        );
        return Err(ended(Exit::Usage, text));
    }
    Ok(())
}

/// Whether the owner can read it, by the schemas of this build.
pub(super) fn check(letter: &Letter, value: &[u8]) -> anyhow::Result<()> {
    let Some(topic) = Topic::parse(&letter.topic) else { return Ok(()) };
    let raw = Raw {
        topic,
        partition: letter.partition,
        offset: letter.offset,
        key: letter.key.clone(),
        value: Some(Bytes::copy_from_slice(value)),
        headers: Headers::Readable(letter.headers.clone()),
        timestamp_ms: 0,
    };
    let wrongs = mend::wrongs(&raw)?;
    if wrongs.is_empty() {
        return Ok(());
    }
    let said = |wrong: &Malformed| printable(format!("{} {}", wrong.pointer, wrong.detail).trim().as_bytes());
    let wrongs: Vec<String> = wrongs.iter().map(said).collect();
    let text = format!(
        "{} could not read it, so nothing was sent (--no-validate sends it):\n  {}",
        letter.group,
        wrongs.join("\n  ")
    );
    Err(ended(Exit::Refused, text))
}

//! `fulfil event`: the messages of the contract, and sending them by hand.

mod types;
mod schema;
mod asyncapi;
mod path;
mod template;
mod plan;
mod bad;
mod scenario;
mod expect;
mod send;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use shared::contract::{
    Timestamp,
    catalogue::{Entry, entries},
};
use uuid::Uuid;

use crate::{
    exit::{Exit, ended},
    output::Output,
    place::PlaceArgs,
};

pub use bad::{BAD_KINDS, Bad};
pub(crate) use path::Assignment;

/// The source of what this program sends.
pub const SOURCE_CLI: &str = "/fulfil/cli";

#[derive(Debug, Args)]
pub struct EventArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: EventCommand,
}

#[derive(Debug, Subcommand)]
enum EventCommand {
    /// All types with their topics and versions
    #[command(after_help = "Examples:
  fulfil event types
  fulfil event types --json")]
    Types,
    /// An example of a type, ready to be edited and sent with -f
    New(types::NewArgs),
    /// Send messages, well-formed or not, once or a thousand times
    Send(Box<send::SendArgs>),
    /// The JSON Schema of a type, or the AsyncAPI document of all
    Schema(schema::SchemaArgs),
    /// Check messages against the contract without sending them
    Validate(schema::ValidateArgs),
}

pub async fn run(args: EventArgs, output: Output) -> anyhow::Result<ExitCode> {
    match args.command {
        EventCommand::Types => types::run(output),
        EventCommand::New(args) => types::new(&args, output),
        EventCommand::Schema(args) => schema::run(&args, output),
        EventCommand::Validate(args) => schema::validate(&args, output),
        EventCommand::Send(send) => send::run(*send, &args.place.resolve()?, output).await,
    }
}

/// A type as people write it: `order.created`, `order.created.v1` or `fulfil.order.created.v1`; without a version
/// the newest.
pub(crate) fn entry(name: &str) -> anyhow::Result<Entry> {
    let full = if name.starts_with("fulfil.") { name.to_owned() } else { format!("fulfil.{name}") };
    let mut entries = entries();
    let exact = entries.iter().position(|entry| entry.message_type == full);
    let newest = || {
        entries.iter().position(|entry| {
            entry.newest && entry.message_type.rsplit_once(".v").is_some_and(|(base, _)| base == full)
        })
    };
    match exact.or_else(newest) {
        Some(index) => Ok(entries.swap_remove(index)),
        None => {
            let alike = alike(&full, &entries);
            let hint = if alike.is_empty() {
                ".".to_owned()
            } else {
                format!("; did you mean {}?", alike.join(" or "))
            };
            Err(ended(
                Exit::NotFound,
                format!("there is no type {name}{hint} All of them: fulfil event types"),
            ))
        }
    }
}

/// The nearest names, for a typing error.
fn alike(full: &str, entries: &[Entry]) -> Vec<String> {
    let bases =
        entries.iter().filter(|entry| entry.newest).map(|entry| crate::sighting::label(entry.message_type));
    let wanted = crate::sighting::label(full);
    let mut near: Vec<(usize, String)> = bases
        .map(|base| (distance(base, wanted), base.to_owned()))
        .filter(|(distance, _)| *distance <= 3)
        .collect();
    near.sort();
    near.truncate(2);
    near.into_iter().map(|(_, base)| base).collect()
}

/// Edits from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// A length of time as an argument.
pub(crate) fn duration_arg(text: &str) -> Result<std::time::Duration, String> {
    crate::kafka::parse_duration(text).ok_or_else(|| "is not a time such as 30s or 5m".to_owned())
}

/// An id whose first characters are its own, so that people can tell orders apart by them.
pub(crate) fn random_id() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

/// Cut to milliseconds, as all times of the contract.
pub(crate) fn now() -> Timestamp {
    let now = chrono::Utc::now();
    Timestamp::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_found_as_people_write_it() {
        for name in ["order.created", "fulfil.order.created", "order.created.v2", "fulfil.order.created.v2"] {
            assert_eq!(entry(name).unwrap().message_type, "fulfil.order.created.v2");
        }
        assert_eq!(entry("order.created.v1").unwrap().message_type, "fulfil.order.created.v1");
    }

    #[test]
    fn a_typing_error_gets_the_name_that_was_meant() {
        let Err(error) = entry("order.crated") else { panic!() };
        assert_eq!(crate::exit::of(&error), Exit::NotFound);
        let text = "there is no type order.crated; did you mean order.created or order.create? All of them: fulfil event types";
        assert_eq!(error.to_string(), text);
        let Err(error) = entry("order.later.v9") else { panic!() };
        assert_eq!(error.to_string(), "there is no type order.later.v9. All of them: fulfil event types");
    }
}

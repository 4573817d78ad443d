//! `fulfil dlq redrive` and `fulfil dlq discard`: commands to the service that owns the letter, and waiting for what
//! it says.

use std::{collections::BTreeMap, env, process::ExitCode, time::Duration};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use shared::contract::{
    dead_letter::{DeadLetterCommand, DiscardDeadLetter, RedriveDeadLetter, header},
    envelope::Manual,
    limits::REDRIVE_BYTES_MAX,
    message::Message,
    topics::Topic,
};
use uuid::Uuid;

use super::{Letter, letters, pick};
use crate::{
    event::{Assignment, SOURCE_CLI, duration_arg},
    exit::{Exit, ended},
    kafka::{From, Heard, Reader, Record, publish},
    output::{Output, Tone, duration, short},
    place::Place,
    sighting::letter_status,
};

#[derive(Debug, Args)]
struct WhichArgs {
    /// Letters, or the starts of their ids
    #[arg(value_name = "LETTER", required_unless_present = "all")]
    letters: Vec<String>,
    /// All that wait and match
    #[arg(long, conflicts_with = "letters")]
    all: bool,
    #[command(flatten)]
    filter: pick::FilterArgs,
    /// Who does it [default: $USER]
    #[arg(long)]
    by: Option<String>,
    #[arg(long, default_value = "by hand")]
    reason: String,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Show what would be done
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for what the owner says; 0s does not wait
    #[arg(long, default_value = "30s", value_parser = duration_arg, value_name = "TIME")]
    timeout: Duration,
}

#[derive(Debug, Args)]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// The mended value, - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "set"])]
    value: Option<String>,
    /// Mend one field of the message, such as data.quantity=2
    #[arg(long, value_name = "PATH=VALUE", conflicts_with = "all")]
    set: Vec<Assignment>,
}

#[derive(Debug, Args)]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    which: WhichArgs,
}

pub(super) async fn redrive(args: RedriveArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let letters = chosen(&args.which, place).await?;
    if letters.len() > 1 && (args.value.is_some() || !args.set.is_empty()) {
        return Err(ended(Exit::Usage, "one letter is mended at a time"));
    }
    // One letter comes back where it fails again; many at once are another matter.
    if letters.len() > 1 && !confirmed(&args.which, "redrive", &letters, output)? {
        return Ok(Exit::Usage.into());
    }
    let mut commands = Vec::with_capacity(letters.len());
    for letter in &letters {
        let value = mended(letter, &args)?;
        let value_base64 = value.map(|value| STANDARD.encode(value));
        let (dead_letter_id, group) = (letter.id.parse()?, letter.group.clone());
        let (by, reason) = (by(&args.which), args.which.reason.clone());
        let redrive = RedriveDeadLetter { dead_letter_id, group, value_base64, by, reason };
        commands.push(DeadLetterCommand::Redrive(redrive));
    }
    execute(&args.which, &letters, commands, place, output).await
}

pub(super) async fn discard(args: DiscardArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let letters = chosen(&args.which, place).await?;
    if !confirmed(&args.which, "discard", &letters, output)? {
        return Ok(Exit::Usage.into());
    }
    let mut commands = Vec::with_capacity(letters.len());
    for letter in &letters {
        let (dead_letter_id, group) = (letter.id.parse()?, letter.group.clone());
        let (by, reason) = (by(&args.which), args.which.reason.clone());
        commands.push(DeadLetterCommand::Discard(DiscardDeadLetter { dead_letter_id, group, by, reason }));
    }
    execute(&args.which, &letters, commands, place, output).await
}

async fn chosen(which: &WhichArgs, place: &Place) -> anyhow::Result<Vec<Letter>> {
    let letters = letters::load(place).await?;
    if which.all {
        return Ok(letters
            .into_iter()
            .filter(|letter| letter.is_open() && which.filter.matches(letter))
            .collect());
    }
    which.letters.iter().map(|start| pick::one(&letters, start).cloned()).collect()
}

fn by(which: &WhichArgs) -> String {
    which
        .by
        .clone()
        .or_else(|| env::var("USER").ok())
        .filter(|by| !by.is_empty())
        .unwrap_or_else(|| "cli".to_owned())
}

fn confirmed(which: &WhichArgs, verb: &str, letters: &[Letter], output: Output) -> anyhow::Result<bool> {
    use std::io::{BufRead, IsTerminal, Write};
    if which.yes || which.dry_run || letters.is_empty() {
        return Ok(true);
    }
    let count = letters.len();
    if !std::io::stdin().is_terminal() {
        output.note(&format!("to {verb} {count} dead letters takes --yes (or look first: --dry-run)"));
        return Ok(false);
    }
    eprint!("{verb} {count} dead letters? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The value to send back; `None` as it was.
fn mended(letter: &Letter, args: &RedriveArgs) -> anyhow::Result<Option<Vec<u8>>> {
    let value = match &args.value {
        Some(file) => {
            let mut bytes = Vec::new();
            if file == "-" {
                use std::io::Read;
                std::io::stdin().read_to_end(&mut bytes)?;
            } else {
                bytes = std::fs::read(file).with_context(|| format!("{file} cannot be read"))?;
            }
            bytes
        }
        None if args.set.is_empty() => return Ok(None),
        None => {
            let json = serde_json::from_slice(letter.value.as_deref().unwrap_or_default());
            let mut json: serde_json::Value = json.map_err(|error| {
                let text = format!("the value is not JSON ({error}), so no field of it can be set: mend it in a file, with fulfil dlq show {} --raw", short(&letter.id));
                ended(Exit::Refused, text)
            })?;
            args.set.iter().for_each(|assignment| assignment.apply(&mut json, 0));
            json.to_string().into_bytes()
        }
    };
    if value.len() > REDRIVE_BYTES_MAX {
        return Err(ended(Exit::Refused, format!("a mended value has at most {REDRIVE_BYTES_MAX} bytes")));
    }
    Ok(Some(value))
}

async fn execute(
    which: &WhichArgs,
    letters: &[Letter],
    commands: Vec<DeadLetterCommand>,
    place: &Place,
    output: Output,
) -> anyhow::Result<ExitCode> {
    if letters.is_empty() {
        output.note("no dead letter matches");
        return Ok(Exit::Done.into());
    }
    let records: anyhow::Result<Vec<Record>> =
        letters.iter().zip(commands).map(|(letter, command)| record(letter, command)).collect();
    let records = records?;
    if which.dry_run {
        for record in &records {
            output.line(&String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()));
        }
        return Ok(Exit::Done.into());
    }
    let broker = place.broker.clone();
    let (reader, sent) = tokio::task::spawn_blocking(move || {
        // Opened first, so that no answer is missed.
        let reader = Reader::open(&broker, &[Topic::DeadLetters], None, From::End)?;
        publish(&broker, &records, None).map(|sent| (reader, sent))
    })
    .await??;
    if let Some(Err(error)) = sent.iter().find(|sent| sent.is_err()) {
        return Err(ended(Exit::Partly, format!("Kafka did not take every command: {error}")));
    }
    if which.timeout.is_zero() {
        output.note(&format!("sent {} commands", letters.len()));
        return Ok(Exit::Done.into());
    }
    let said = answers(letters, reader, which.timeout).await;
    report(letters, &said, which.timeout, output)
}

fn record(letter: &Letter, command: DeadLetterCommand) -> anyhow::Result<Record> {
    command_record(&letter.id, letter.key.clone(), command)
}

/// A redrive as it goes onto `dead-letters.commands`; `value` where it was mended.
pub fn redrive_record(
    letter_id: &str,
    group: &str,
    key: Option<Bytes>,
    value: Option<&[u8]>,
    by: &str,
    reason: &str,
) -> anyhow::Result<Record> {
    let redrive = RedriveDeadLetter {
        dead_letter_id: letter_id.parse()?,
        group: group.to_owned(),
        value_base64: value.map(|value| STANDARD.encode(value)),
        by: by.to_owned(),
        reason: reason.to_owned(),
    };
    command_record(letter_id, key, DeadLetterCommand::Redrive(redrive))
}

/// With the key of the letter, so that the replica which owns it gets the command.
fn command_record(letter_id: &str, key: Option<Bytes>, command: DeadLetterCommand) -> anyhow::Result<Record> {
    let message = Message::DeadLetterCommand(command);
    let manual = Manual {
        message_type: message.message_type(),
        data: &message.data(),
        id: Uuid::now_v7(),
        source: SOURCE_CLI,
        time: crate::event::now(),
        traceparent: None,
    };
    let mut record: Record = manual.encode(Topic::DeadLettersCommands, letter_id)?.into();
    record.key = key.or_else(|| Some(Bytes::from(letter_id.to_owned())));
    Ok(record)
}

async fn answers(
    letters: &[Letter],
    reader: Reader,
    timeout: Duration,
) -> BTreeMap<String, (String, String)> {
    let mut heard = reader.follow();
    let deadline = tokio::time::Instant::now() + timeout;
    let mut said = BTreeMap::new();
    while said.len() < letters.len() {
        let Ok(Some(next)) = tokio::time::timeout_at(deadline, heard.recv()).await else { break };
        let Heard::Message(raw) = next else { continue };
        let text = |name: &str| raw.headers.text(name).unwrap_or_default().to_owned();
        let id = text(header::ID);
        if let Some(status) = letter_status(&raw).filter(|_| letters.iter().any(|letter| letter.id == id)) {
            said.insert(id, (status.to_owned(), text(header::REASON)));
        }
    }
    said
}

fn report(
    letters: &[Letter],
    said: &BTreeMap<String, (String, String)>,
    timeout: Duration,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let (mut done, mut failed) = (0, 0);
    for letter in letters {
        let (status, reason) = match said.get(&letter.id) {
            Some((status, reason)) => (status.as_str(), reason.as_str()),
            None => ("waiting", ""),
        };
        match status {
            "redriven" | "discarded" => done += 1,
            "waiting" => {}
            _ => failed += 1,
        }
        if output.json {
            output.object(
                &json!({"id": letter.id, "group": letter.group, "status": status, "reason": reason}),
            )?;
            continue;
        }
        let tone = match status {
            "redriven" | "discarded" => Tone::Good,
            _ => Tone::Bad,
        };
        let id = if output.terminal { short(&letter.id) } else { &letter.id };
        output.line(format!("{id}  {}  {}  {reason}", output.paint(tone, status), letter.place()).trim_end());
    }
    let waiting = letters.len() - done - failed;
    if waiting > 0 {
        output.note(&format!(
            "no answer about {waiting} of them within {}: does the owner run? fulfil doctor",
            duration(timeout)
        ));
    }
    Ok(match (done, failed, waiting) {
        (_, 0, 0) => Exit::Done,
        (0, _, 0) => Exit::Refused,
        (0, 0, _) => Exit::Waited,
        _ => Exit::Partly,
    }
    .into())
}

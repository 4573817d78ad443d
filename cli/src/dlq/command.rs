//! `fulfil dlq redrive` and `fulfil dlq discard`, of letters that are named: commands to the service that owns each, and
//! waiting for what it says. Those that are selected by what they have in common: [`bulk`].

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use shared::{
    contract::{
        dead_letter::{DeadLetterCommand, DiscardDeadLetter, RedriveDeadLetter, header},
        envelope::Manual,
        message::Message,
        topics::Topic,
    },
    mend,
};
use uuid::Uuid;

use super::{
    Letter,
    bulk::{self, Verb},
    letters, pick, value,
    which::{SELECTS, WhichArgs},
};
use crate::{
    event::{Assignment, SOURCE_CLI},
    exit::{Exit, ended},
    kafka::{From, Heard, Reader, Record, publish},
    output::{Output, Tone, duration, short},
    place::Place,
    sighting::letter_status,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil dlq redrive 9c41d2e0 --reason 'the sku is known now'
  fulfil dlq redrive 9c41d2e0 --set data.quantity=2 --reason 'a typing error'
  fulfil dlq redrive --fingerprint 9c41d2e07ab35f18 --dry-run
  fulfil dlq redrive --code insufficient-stock --rate 20/s --wait --yes --reason 'stock has come'
  fulfil dlq redrive --all --group order-service --wait --yes")]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// The mended value, - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = SELECTS)]
    value: Option<String>,
    /// Mend one field of the message, such as data.quantity=2
    #[arg(long, value_name = "PATH=VALUE", conflicts_with = "value", conflicts_with_all = SELECTS)]
    set: Vec<Assignment>,
    /// Send what was mended even where no service could read it
    #[arg(long, conflicts_with_all = SELECTS)]
    no_validate: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil dlq discard 9c41d2e0 --yes --reason 'a test of somebody'
  fulfil dlq discard --fingerprint 9c41d2e07ab35f18 --dry-run
  fulfil dlq discard --code invalid-json --group order-service --wait --yes --reason 'never were orders'")]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    which: WhichArgs,
}

pub(super) async fn redrive(args: RedriveArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    args.which.why.check()?;
    if args.which.selects() {
        return bulk::run(Verb::Redrive, &args.which, place, output).await;
    }
    let letters = named(&args.which, place).await?;
    if letters.len() > 1 && (args.value.is_some() || !args.set.is_empty()) {
        return Err(ended(Exit::Usage, "one letter is mended at a time"));
    }
    // One letter comes back where it fails again; many at once are another matter.
    if letters.len() > 1 && !args.which.confirmed("redrive", letters.len(), output)? {
        return Ok(Exit::Usage.into());
    }
    let mut commands = Vec::with_capacity(letters.len());
    for letter in &letters {
        let (by, given) = (args.which.why.by(), args.which.why.reason.clone());
        let (value, reason) = match mended(letter, &args)? {
            Some((value, reason)) => (Some(value), reason),
            None => (None, given),
        };
        let value_base64 = value.map(|value| STANDARD.encode(value));
        let (dead_letter_id, group) = (letter.id.parse()?, letter.group.clone());
        let redrive = RedriveDeadLetter { dead_letter_id, group, value_base64, by, reason };
        commands.push(DeadLetterCommand::Redrive(redrive));
    }
    match args.which.dry_run {
        true => show(&letters, commands, output),
        false => execute(&letters, commands, args.which.timeout, place, output).await,
    }
}

pub(super) async fn discard(args: DiscardArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    args.which.why.check()?;
    if args.which.selects() {
        return bulk::run(Verb::Discard, &args.which, place, output).await;
    }
    let letters = named(&args.which, place).await?;
    if !args.which.confirmed("discard", letters.len(), output)? {
        return Ok(Exit::Usage.into());
    }
    let mut commands = Vec::with_capacity(letters.len());
    for letter in &letters {
        let (dead_letter_id, group) = (letter.id.parse()?, letter.group.clone());
        let (by, reason) = (args.which.why.by(), args.which.why.reason.clone());
        commands.push(DeadLetterCommand::Discard(DiscardDeadLetter { dead_letter_id, group, by, reason }));
    }
    match args.which.dry_run {
        true => show(&letters, commands, output),
        false => execute(&letters, commands, args.which.timeout, place, output).await,
    }
}

async fn named(which: &WhichArgs, place: &Place) -> anyhow::Result<Vec<Letter>> {
    let letters = letters::load(place).await?;
    which.letters.iter().map(|start| pick::one(&letters, start).cloned()).collect()
}

/// The value to send back, and the reason with what was changed; `None` as it was.
fn mended(letter: &Letter, args: &RedriveArgs) -> anyhow::Result<Option<(Vec<u8>, String)>> {
    let value = match &args.value {
        Some(file) => value::of_file(file)?,
        None if args.set.is_empty() => return Ok(None),
        None => value::with(letter, &args.set)?,
    };
    value::check_reason(&args.which.why.reason)?;
    value::check_size(&value)?;
    if !args.no_validate {
        value::check(letter, &value)?;
    }
    let before = letter.value.as_deref().unwrap_or_default();
    if value == before {
        return Err(ended(Exit::Refused, "nothing was changed, so nothing was sent"));
    }
    let reason = mend::reason(&args.which.why.reason, &mend::changes(before, &value));
    Ok(Some((value, reason)))
}

/// Sends them and waits for what the owners say.
pub(super) async fn execute(
    letters: &[Letter],
    commands: Vec<DeadLetterCommand>,
    timeout: Duration,
    place: &Place,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let records = records(letters, commands)?;
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
    if timeout.is_zero() {
        output.note(&format!("sent {} commands", letters.len()));
        return Ok(Exit::Done.into());
    }
    let said = answers(letters, reader, timeout).await;
    report(letters, &said, timeout, output)
}

/// What would be sent.
fn show(letters: &[Letter], commands: Vec<DeadLetterCommand>, output: Output) -> anyhow::Result<ExitCode> {
    for record in records(letters, commands)? {
        output.line(&String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()));
    }
    Ok(Exit::Done.into())
}

fn records(letters: &[Letter], commands: Vec<DeadLetterCommand>) -> anyhow::Result<Vec<Record>> {
    letters.iter().zip(commands).map(|(letter, command)| record(letter, command)).collect()
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

//! `fulfil event send`: the producer that people use daily.

use std::{process::ExitCode, time::Instant};

use clap::Args;
use serde::Serialize;
use shared::contract::{
    envelope::{Mode, decode},
    topics::Topic,
};

use super::{
    bad::{BAD_KINDS, Bad},
    path::Assignment,
    plan::{Duplicate, Planned, plan, raw, record},
    schema,
    template::{Filled, Template, key_field},
};
use crate::{
    exit::{Exit, ended},
    kafka::{Delivered, Rate, Record, publish},
    output::{Output, Tone, count, duration, short},
    place::Place,
    sighting::label,
};

/// Beyond that many lines a terminal is told in figures.
const LINES_MAX: usize = 40;
const LINES_FIRST: usize = 10;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil event send order.create --set 'lines[0].sku=SKU-1' -n 100 --rate 50/s
  fulfil event send order.create -n 1000 --duplicate 20% --shuffle
  fulfil event send payment.declined --key 0198f3c2-5a10-7c31-9d44-0a4be1c25f01 --set code=stolen_card
  fulfil event send order.create --bad -n 12
  fulfil event new order.create | fulfil event send -f -
  fulfil event send fulfil.order.later.v9 --topic orders.events --no-validate")]
pub(super) struct SendArgs {
    /// Such as order.create; of bare payloads with -f
    #[arg(value_name = "TYPE", required_unless_present = "file")]
    name: Option<String>,
    /// A field of the payload: lines[0].sku=SKU-1. {n} is the number of the message, {uuid} a new id
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Assignment>,
    /// The message key, and the id in the payload [default: a new order id, or the sku]
    #[arg(short, long)]
    key: Option<String>,
    /// Another topic than that of the type
    #[arg(short, long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Another partition than the key's
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// A further header (any number of times)
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// So many messages, each of its own
    #[arg(short, long, default_value_t = 1, value_name = "N", conflicts_with = "file", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    num: u64,
    /// JSON lines, - for standard input: CloudEvents, which stay as they are, or {"type", "data"}, or payloads of TYPE
    #[arg(short, long, value_name = "FILE", conflicts_with = "set")]
    file: Option<String>,
    /// Evenly, such as 50/s [default: as fast as Kafka takes them]
    #[arg(long)]
    rate: Option<Rate>,
    /// Send each so many times (2), or a share of them once more (20%)
    #[arg(long, value_name = "N|N%")]
    duplicate: Option<Duplicate>,
    /// In random order
    #[arg(long)]
    shuffle: bool,
    /// Spoil them: all kinds in turn, or these
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, value_delimiter = ',', default_missing_value = "all", value_parser = bad)]
    bad: Option<Vec<BadArg>>,
    /// Send what is not valid as well; with --topic, of a type that the contract does not have, too
    #[arg(long)]
    no_validate: bool,
    /// Show what would be sent
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug)]
enum BadArg {
    All,
    One(Bad),
}

#[derive(Serialize)]
struct SentObject<'a> {
    topic: &'a str,
    partition: Option<i32>,
    offset: Option<i64>,
    key: Option<String>,
    r#type: &'a str,
    repeat: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bad: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub(super) async fn run(args: SendArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let filled = fill(&args)?;
    if filled.is_empty() {
        output.note("nothing to send");
        return Ok(Exit::Done.into());
    }
    let records: anyhow::Result<Vec<_>> =
        filled.iter().map(|filled| record(filled, args.partition, &args.header)).collect();
    let records = records?;
    if !args.no_validate {
        check(&filled, &records)?;
    }
    let planned = plan(records, &bad_kinds(&args), args.duplicate, args.shuffle, &mut rand::rng());
    if args.dry_run {
        for planned in &planned {
            output.line(&String::from_utf8_lossy(planned.record.value.as_deref().unwrap_or_default()));
        }
        output.note(&format!("{} messages would be sent", count(planned.len() as i64)));
        return Ok(Exit::Done.into());
    }
    let (broker, rate) = (place.broker.clone(), args.rate);
    let begun = Instant::now();
    let (planned, sent) = tokio::task::spawn_blocking(move || {
        let records: Vec<_> = planned.iter().map(|planned| planned.record.clone()).collect();
        publish(&broker, &records, rate).map(|sent| (planned, sent))
    })
    .await??;
    report(&filled, &planned, &sent, begun.elapsed(), output)
}

fn fill(args: &SendArgs) -> anyhow::Result<Vec<Filled>> {
    let topic = args.topic.as_deref().map(|name| {
        Topic::parse(name).ok_or_else(|| {
            ended(Exit::Usage, format!("there is no topic {name} in the contract: fulfil topic list"))
        })
    });
    let topic = topic.transpose()?;
    let mut filled = match &args.file {
        Some(file) => of_file(file, topic, args)?,
        None => {
            let (message_type, topic) = typed(args.name.as_deref().unwrap_or_default(), topic, args)?;
            let template = Template::new(&message_type, topic, &args.set, args.key.clone())?;
            (0..args.num as usize).map(|number| template.fill(number)).collect::<anyhow::Result<_>>()?
        }
    };
    if let Some(topic) = topic {
        filled.iter_mut().for_each(|filled| filled.topic = topic);
    }
    Ok(filled)
}

/// A type and the topic that is its own. One that the contract does not have is taken as it stands.
fn typed(name: &str, topic: Option<Topic>, args: &SendArgs) -> anyhow::Result<(String, Topic)> {
    match (super::entry(name), topic) {
        (Ok(entry), _) => Ok((entry.message_type.to_owned(), entry.topic)),
        (Err(_), Some(topic)) if args.no_validate => Ok((name.to_owned(), topic)),
        (Err(error), _) => Err(error),
    }
}

fn of_file(file: &str, topic: Option<Topic>, args: &SendArgs) -> anyhow::Result<Vec<Filled>> {
    let mut all = Vec::new();
    for (number, line) in schema::read(file)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
    {
        let read = schema::of_line(line, args.name.as_deref())
            .and_then(|line| Ok((typed(&line.name, topic, args)?, line)));
        let ((message_type, topic), schema::Line { data, attributes, .. }) =
            read.map_err(|error| ended(Exit::Usage, format!("line {}: {error:#}", number + 1)))?;
        let key = args.key.clone().or_else(|| data[key_field(topic)].as_str().map(str::to_owned));
        all.push(Filled { message_type, topic, key, data, attributes });
    }
    Ok(all)
}

fn check(filled: &[Filled], records: &[Record]) -> anyhow::Result<()> {
    let mut checker = schema::Checker::default();
    for (filled, record) in filled.iter().zip(records) {
        let mut wrongs = checker.wrongs(&filled.message_type, &filled.data)?;
        // The payload may be right in an envelope that is not.
        wrongs.extend(decode(&raw(record), Mode::Development).err().as_ref().map(schema::said));
        if !wrongs.is_empty() {
            let wrongs = wrongs.join("\n  ");
            let text = format!(
                "not a valid {}, so nothing was sent (--no-validate sends it):\n  {wrongs}",
                filled.message_type
            );
            return Err(ended(Exit::Refused, text));
        }
    }
    Ok(())
}

fn bad_kinds(args: &SendArgs) -> Vec<Bad> {
    let all = args.bad.iter().flatten().flat_map(|kind| match kind {
        BadArg::All => BAD_KINDS.to_vec(),
        BadArg::One(kind) => vec![*kind],
    });
    all.collect()
}

fn report(
    filled: &[Filled],
    planned: &[Planned],
    sent: &[Result<Delivered, String>],
    took: std::time::Duration,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let shown = if output.terminal && !output.json && planned.len() > LINES_MAX {
        LINES_FIRST
    } else {
        planned.len()
    };
    for (planned, sent) in planned.iter().zip(sent).take(shown) {
        let message_type = &filled[planned.number].message_type;
        if output.json {
            let delivered = sent.as_ref().ok();
            output.object(&SentObject {
                topic: planned.record.topic.name(),
                partition: delivered.map(|delivered| delivered.partition),
                offset: delivered.map(|delivered| delivered.offset),
                key: planned.record.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()),
                r#type: message_type,
                repeat: planned.repeat,
                bad: planned.bad.map(|bad| bad.name),
                error: sent.as_ref().err().map(String::as_str),
            })?;
        } else {
            output.line(&line(message_type, planned, sent, output));
        }
    }
    if shown < planned.len() {
        output.note(&format!("… and {} more", count((planned.len() - shown) as i64)));
    }
    let failed = sent.iter().filter(|sent| sent.is_err()).count();
    let delivered = sent.len() - failed;
    let repeats = planned.iter().filter(|planned| planned.repeat).count();
    let per_second = delivered as f64 / took.as_secs_f64().max(0.001);
    let again =
        if repeats > 0 { format!(", {} of them repeats", count(repeats as i64)) } else { String::new() };
    let speed = if delivered > 1 { format!(" ({}/s)", count(per_second as i64)) } else { String::new() };
    output.note(&format!("sent {}{again} in {}{speed}", count(delivered as i64), duration(took)));
    if failed > 0 {
        let first = sent.iter().find_map(|sent| sent.as_ref().err()).map_or("", String::as_str);
        output.note_toned(Tone::Bad, &format!("{} were not delivered: {first}", count(failed as i64)));
    }
    Ok(match (delivered, failed) {
        (_, 0) => Exit::Done,
        (0, _) => Exit::Failed,
        _ => Exit::Partly,
    }
    .into())
}

fn line(message_type: &str, planned: &Planned, sent: &Result<Delivered, String>, output: Output) -> String {
    let key = planned
        .record
        .key
        .as_deref()
        .map(|key| String::from_utf8_lossy(key).into_owned())
        .unwrap_or_default();
    let place = match sent {
        Ok(Delivered { partition, offset }) => format!("{}[{partition}]@{offset}", planned.record.topic),
        Err(error) => output.paint(Tone::Bad, &format!("{} {error}", planned.record.topic)),
    };
    let shown = if output.terminal { short(&key).to_owned() } else { key.clone() };
    let mut line =
        format!("{place:<24}  {:<13}  {}", output.paint(Tone::of(&key), &shown), label(message_type));
    if let Some(bad) = planned.bad {
        line.push_str(&output.paint(Tone::Warn, &format!("  bad: {}", bad.name)));
    }
    if planned.repeat {
        line.push_str(&output.paint(Tone::Dim, "  again"));
    }
    line
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a header is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn bad(name: &str) -> Result<BadArg, String> {
    if name == "all" { Ok(BadArg::All) } else { name.parse().map(BadArg::One) }
}

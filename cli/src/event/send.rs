//! `fulfil event send`: the producer that people use daily.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use shared::{
    broker::BrokerSettings,
    contract::{
        envelope::{Mode, decode},
        ids::OrderId,
        schema::Checker,
        topics::Topic,
    },
};

use super::{
    bad::{BAD_KINDS, Bad},
    duration_arg,
    expect::Expectations,
    path::Assignment,
    plan::{Duplicate, Planned, plan, raw, record},
    scenario::Scenario,
    schema,
    template::{Filled, Template},
};
use crate::{
    exit::{Exit, ended},
    kafka::{Delivered, Rate, Record, publish},
    order::Status,
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
  fulfil event send fulfil.order.later.v9 --topic orders.events --no-validate
  fulfil event send order.create -n 10 --expect completed --within 10s
  fulfil event send -f scenario.jsonl --expect completed

A scenario is a file of such lines, in which {a} is a new order:
  {\"type\":\"order.create\",\"data\":{\"order_id\":\"{a}\",\"user_id\":\"u1\",\"product_id\":\"SKU-1\",\"quantity\":2}}
  {\"pause\":\"500ms\"}
  {\"type\":\"order.cancel\",\"data\":{\"order_id\":\"{a}\"},\"expect\":\"settled\"}

Exit codes: 0 sent, and every order as expected, 4 not valid, or an order went another way, 5 partly sent,
6 an order was not as expected within the time, 130 interrupted")]
pub(super) struct SendArgs {
    /// Such as order.create; of bare payloads with -f
    #[arg(value_name = "TYPE", required_unless_present = "file")]
    name: Option<String>,
    /// A field of the payload: lines[0].sku=SKU-1. In it n in braces is the number of the message, uuid in braces a new id
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
    /// JSON lines, - for standard input: CloudEvents, which stay as they are, or {"type", "data"}, or payloads of TYPE.
    /// {"pause":"2s"} waits; "expect" beside type and data is the --expect of that order alone
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
    /// Then wait until every order of these messages is in one of these states
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATUS", conflicts_with = "bad")]
    expect: Vec<Status>,
    /// How long to wait for all of them together, at most
    #[arg(long, default_value = "30s", value_parser = duration_arg, value_name = "TIME")]
    within: Duration,
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
    let scenario = scenario(&args)?;
    let filled = &scenario.messages;
    if filled.is_empty() {
        output.note("nothing to send");
        return Ok(Exit::Done.into());
    }
    let records: anyhow::Result<Vec<_>> =
        filled.iter().map(|filled| record(filled, args.partition, &args.header)).collect();
    let records = records?;
    if !args.no_validate {
        check(filled, &records)?;
    }
    let expected = scenario.expected(&args.expect);
    if expected.is_empty() && !args.expect.is_empty() {
        return Err(ended(Exit::Usage, "--expect is about orders, and none of these messages is about one"));
    }
    if args.bad.is_some() && !expected.is_empty() {
        let text = "--bad spoils the messages, so no order becomes what the file expects of it: leave one of them out";
        return Err(ended(Exit::Usage, text));
    }
    let planned = plan(records, &bad_kinds(&args), args.duplicate, args.shuffle, &mut rand::rng());
    if args.dry_run {
        for planned in &planned {
            output.line(&String::from_utf8_lossy(planned.record.value.as_deref().unwrap_or_default()));
        }
        output.note(&format!("{} messages would be sent", count(planned.len() as i64)));
        return Ok(Exit::Done.into());
    }
    let expectations = match expected.is_empty() {
        true => None,
        false => Some(Expectations::open(expected, place).await?),
    };
    let send = async {
        let begun = Instant::now();
        let sent = send(&planned, &scenario.pauses, &place.broker, args.rate).await?;
        let exit = report(filled, &planned, &sent, begun.elapsed(), output)?;
        match expectations {
            // What was not sent cannot end.
            Some(expectations) if exit == Exit::Done => expectations.wait(args.within, output).await,
            _ => Ok(exit),
        }
    };
    tokio::select! {
        exit = send => Ok(exit?.into()),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted.into()),
    }
}

/// What stands before a pause is acknowledged before it begins.
async fn send(
    planned: &[Planned],
    pauses: &[(usize, Duration)],
    broker: &BrokerSettings,
    rate: Option<Rate>,
) -> anyhow::Result<Vec<Result<Delivered, String>>> {
    let mut sent = Vec::with_capacity(planned.len());
    let mut pauses = pauses.iter().peekable();
    let mut rest = planned;
    while !rest.is_empty() || pauses.peek().is_some() {
        let end = pauses.peek().map_or(rest.len(), |(before, _)| {
            rest.iter().position(|planned| planned.number >= *before).unwrap_or(rest.len())
        });
        let (now, later) = rest.split_at(end);
        if !now.is_empty() {
            let (broker, records) = (broker.clone(), now.iter().map(|planned| planned.record.clone()));
            let records: Vec<_> = records.collect();
            sent.extend(tokio::task::spawn_blocking(move || publish(&broker, &records, rate)).await??);
        }
        if let Some((_, pause)) = pauses.next() {
            tokio::time::sleep(*pause).await;
        }
        rest = later;
    }
    Ok(sent)
}

fn scenario(args: &SendArgs) -> anyhow::Result<Scenario> {
    let topic = args.topic.as_deref().map(|name| {
        Topic::parse(name).ok_or_else(|| {
            ended(Exit::Usage, format!("there is no topic {name} in the contract: fulfil topic list"))
        })
    });
    let topic = topic.transpose()?;
    let mut scenario = match &args.file {
        Some(file) => of_file(file, topic, args)?,
        None => {
            let (message_type, topic) = typed(args.name.as_deref().unwrap_or_default(), topic, args)?;
            let template = Template::new(&message_type, topic, &args.set, args.key.clone())?;
            let messages = (0..args.num as usize).map(|number| template.fill(number));
            Scenario::of(messages.collect::<anyhow::Result<_>>()?)
        }
    };
    if let Some(topic) = topic {
        scenario.messages.iter_mut().for_each(|filled| filled.topic = topic);
    }
    Ok(scenario)
}

/// A type and the topic that is its own. One that the contract does not have is taken as it stands.
fn typed(name: &str, topic: Option<Topic>, args: &SendArgs) -> anyhow::Result<(String, Topic)> {
    match (super::entry(name), topic) {
        (Ok(entry), _) => Ok((entry.message_type.to_owned(), entry.topic)),
        (Err(_), Some(topic)) if args.no_validate => Ok((name.to_owned(), topic)),
        (Err(error), _) => Err(error),
    }
}

fn of_file(file: &str, topic: Option<Topic>, args: &SendArgs) -> anyhow::Result<Scenario> {
    let new_id = || {
        // Random ids are never nil.
        OrderId::new(super::random_id()).unwrap_or_else(|| unreachable!("a random id has its version"))
    };
    let typed = |name: &str| typed(name, topic, args);
    let mut scenario = Scenario::read(&schema::read(file)?, args.name.as_deref(), typed, new_id)?;
    if args.shuffle && !scenario.pauses.is_empty() {
        return Err(ended(Exit::Usage, "a pause says what comes first, so there is nothing to --shuffle"));
    }
    if let Some(key) = &args.key {
        scenario.messages.iter_mut().for_each(|filled| filled.key = Some(key.clone()));
    }
    Ok(scenario)
}

fn check(filled: &[Filled], records: &[Record]) -> anyhow::Result<()> {
    let mut checker = Checker::default();
    for (filled, record) in filled.iter().zip(records) {
        let mut wrongs = checker.wrongs(&filled.message_type, &filled.data)?;
        // The payload may be right in an envelope that is not.
        wrongs.extend(decode(&raw(record), Mode::Development).err());
        if !wrongs.is_empty() {
            let wrongs: Vec<String> = wrongs.iter().map(schema::said).collect();
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
    took: Duration,
    output: Output,
) -> anyhow::Result<Exit> {
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
    })
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

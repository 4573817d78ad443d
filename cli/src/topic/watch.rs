//! `fulfil topic watch`: events as they come, one line each.

use std::process::ExitCode;

use clap::Args;
use shared::contract::topics::{Key, Topic, partition_of};

use crate::{
    exit::{Exit, ended},
    kafka::{From, Heard, Reader, sort_by_arrival},
    output::Output,
    place::Place,
    sighting::{Filter, Lines, Sighting},
};

/// What was there before is shown in the order of arrival over all topics; beyond that many it is streamed.
const SORTED_MESSAGES_MAX: i64 = 20_000;

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// Which topics [default: all of events, stock, payments and dead letters; with --order those about orders]
    #[arg(value_name = "TOPIC", value_parser = topic)]
    topics: Vec<Topic>,
    /// Also accepted as an option, any number of times
    #[arg(short, long = "topic", value_name = "TOPIC", value_parser = topic)]
    topic: Vec<Topic>,
    /// Where to begin: start, end, -N (per partition), an offset, @-1h, @2026-11-24T10:00:00Z [default: end; with --order start]
    #[arg(short, long, allow_hyphen_values = true, value_name = "PLACE")]
    offset: Option<From>,
    /// One partition of each topic
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Stop after so many lines
    #[arg(short, long, value_name = "N")]
    num: Option<u64>,
    /// Only what matches, such as 'type~payment and order=0198*' or 'amount.minor>1000'
    #[arg(long = "where", value_name = "EXPRESSION")]
    filter: Option<Filter>,
    /// One order over all topics, from its beginning
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// Stop at what is the end now instead of waiting for more
    #[arg(short, long)]
    exit: bool,
}

fn topic(name: &str) -> Result<Topic, String> {
    let names = || Topic::ALL.map(Topic::name).join(", ");
    Topic::parse(name).ok_or_else(|| format!("is none of {}", names()))
}

pub(super) async fn run(args: WatchArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let order = match &args.order {
        Some(order) => Some(crate::order::resolve(order, place).await?.to_string()),
        None => None,
    };
    let mut watch = Watch { args, output, lines: Lines::default(), shown: 0, order };
    let reader = watch.open(place).await?;
    let sorts = reader.backlog() <= SORTED_MESSAGES_MAX;
    let mut heard = reader.follow();
    let mut backlog = sorts.then(Vec::new);
    loop {
        let next = tokio::select! {
            next = heard.recv() => next,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted.into()),
        };
        match (next, &mut backlog) {
            (Some(Heard::Message(raw)), Some(backlog)) => backlog.push(raw),
            (Some(Heard::Message(raw)), None) => watch.show(raw)?,
            (Some(Heard::CaughtUp), _) => {
                let mut messages = backlog.take().unwrap_or_default();
                sort_by_arrival(&mut messages);
                for raw in messages {
                    watch.show(raw)?;
                    if watch.is_done() {
                        break;
                    }
                }
                if watch.args.exit {
                    return Ok(Exit::Done.into());
                }
            }
            (Some(Heard::Failed(error)), _) => return Err(ended(Exit::Failed, error)),
            (None, _) => return Err(ended(Exit::Failed, "the reader stopped")),
        }
        if watch.is_done() {
            return Ok(Exit::Done.into());
        }
    }
}

struct Watch {
    args: WatchArgs,
    output: Output,
    lines: Lines,
    shown: u64,
    order: Option<String>,
}

impl Watch {
    async fn open(&self, place: &Place) -> anyhow::Result<Reader> {
        let from = self.args.offset.unwrap_or(if self.order.is_some() { From::Start } else { From::End });
        let topics = self.topics();
        let (broker, partition, order) = (place.broker.clone(), self.args.partition, self.order.clone());
        tokio::task::spawn_blocking(move || {
            let Some(order) = order.filter(|_| partition.is_none()) else {
                return Reader::open(&broker, &topics, partition, from);
            };
            // All of an order is on one partition of each topic that has its id as key.
            let mut places = Vec::new();
            for topic in topics {
                let partitions = shared::broker::topics::partitions_of(&broker, topic.name())?.unwrap_or(0);
                match topic.key() {
                    Key::Sku => places.extend((0..partitions).map(|partition| (topic, partition))),
                    _ if partitions == 0 => {}
                    _ => places.push((topic, partition_of(order.as_bytes(), partitions))),
                }
            }
            Reader::open_partitions(&broker, &places, from)
        })
        .await?
    }

    fn topics(&self) -> Vec<Topic> {
        let mut topics: Vec<Topic> = self.args.topics.iter().chain(&self.args.topic).copied().collect();
        if topics.is_empty() {
            topics = match self.order {
                Some(_) => Topic::ALL.to_vec(),
                None => Topic::ALL.into_iter().filter(|topic| !topic.is_commands()).collect(),
            };
        }
        topics.sort();
        topics.dedup();
        topics
    }

    fn show(&mut self, raw: shared::contract::envelope::Raw) -> anyhow::Result<()> {
        let sighting = Sighting::of(raw);
        let is_of_order = |order: &String| {
            sighting.order_id() == Some(order) || sighting.key().is_some_and(|key| key == order.as_str())
        };
        if !self.order.as_ref().is_none_or(is_of_order)
            || !self.args.filter.as_ref().is_none_or(|filter| filter.matches(&sighting))
        {
            return Ok(());
        }
        self.shown += 1;
        if self.output.json {
            self.output.object(&sighting.object())
        } else {
            self.output.line(&self.lines.line(&self.output, &sighting));
            Ok(())
        }
    }

    fn is_done(&self) -> bool {
        self.args.num.is_some_and(|num| self.shown >= num)
    }
}

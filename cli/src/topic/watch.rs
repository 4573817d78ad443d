//! `fulfil topic watch`: events as they come, one line each, or as a table on the screen.

use std::process::ExitCode;

use clap::Args;
use shared::contract::topics::{Key, Topic, partition_of};

use super::{feed::Feed, tui};
use crate::{
    exit::Exit,
    kafka::{From, Reader},
    output::Output,
    place::Place,
    sighting::{Filter, Lines, Sighting},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil topic watch
  fulfil topic watch --order 0198f3c2-5a10
  fulfil topic watch payments.events --where 'type~declined' -o @-1h
  fulfil topic watch --tui -o -100")]
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
    /// As a table on the whole screen: / filters, space pauses, enter shows a payload, q leaves
    #[arg(long, conflicts_with_all = ["num", "exit"])]
    tui: bool,
}

fn topic(name: &str) -> Result<Topic, String> {
    let names = || Topic::ALL.map(Topic::name).join(", ");
    Topic::parse(name).ok_or_else(|| format!("is none of {}", names()))
}

pub(super) async fn run(args: WatchArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    if args.tui {
        tui::check(output)?;
    }
    let order = match &args.order {
        Some(order) => Some(crate::order::resolve(order, place).await?.to_string()),
        None => None,
    };
    let mut watch = Watch { args, output, lines: Lines::default(), shown: 0, order };
    let mut feed = Feed::of(watch.open(place).await?);
    if watch.args.tui {
        return tui::run(feed, |sighting| watch.wants(sighting), output).await;
    }
    loop {
        let fed = tokio::select! {
            fed = feed.next() => fed?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted.into()),
        };
        for raw in fed.messages {
            watch.show(Sighting::of(raw))?;
            if watch.is_done() {
                break;
            }
        }
        if watch.is_done() || fed.is_caught_up && watch.args.exit {
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

    fn wants(&self, sighting: &Sighting) -> bool {
        let is_of_order = |order: &String| {
            sighting.order_id() == Some(order) || sighting.key().is_some_and(|key| key == order.as_str())
        };
        self.order.as_ref().is_none_or(is_of_order)
            && self.args.filter.as_ref().is_none_or(|filter| filter.matches(sighting))
    }

    fn show(&mut self, sighting: Sighting) -> anyhow::Result<()> {
        if !self.wants(&sighting) {
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

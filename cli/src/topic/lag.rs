//! `fulfil topic lag`: how far each consumer group is behind, in messages and in time, by what it has committed.

use std::{
    collections::HashMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use shared::{
    broker::{BrokerSettings, waiting_since},
    contract::topics::Topic,
};

use crate::{
    exit::{Exit, ended},
    kafka::{CLIENT, Lag, groups, lag},
    output::{Column, Output, Tone, count, duration_ms},
    place::Place,
};

/// What has not come by then is not known.
const SINCE_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil topic lag
  fulfil topic lag --group payment-service --json

The services commit to Kafka what they have committed to their databases, a moment later: a little lag may be none.")]
pub(super) struct LagArgs {
    /// Of this consumer group alone [default: all that have committed something]
    #[arg(long)]
    group: Option<String>,
}

/// A partition, or a group as a whole, which has neither topic nor offsets.
#[derive(Debug, PartialEq, Serialize)]
struct LagObject<'a> {
    group: &'a str,
    topic: Option<&'static str>,
    partition: Option<i32>,
    committed: Option<i64>,
    end: Option<i64>,
    messages: i64,
    /// How long the oldest of them has waited; null where it cannot be read.
    seconds: Option<f64>,
}

struct Group {
    name: String,
    lags: Vec<Lag>,
    since: HashMap<(Topic, i32), i64>,
}

pub(super) async fn run(args: LagArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let broker = place.broker.clone();
    let found = tokio::task::spawn_blocking(move || look(&broker, args.group)).await??;
    let now_ms = chrono::Utc::now().timestamp_millis();
    let partitions: Vec<LagObject<'_>> = found.iter().flat_map(|group| group.partitions(now_ms)).collect();
    let totals: Vec<LagObject<'_>> = found.iter().map(|group| total(&group.name, &partitions)).collect();
    if output.json {
        return totals
            .iter()
            .chain(&partitions)
            .try_for_each(|of| output.object(of))
            .map(|()| Exit::Done.into());
    }
    let columns = [
        Column::Left("GROUP"),
        Column::Left("TOPIC"),
        Column::Right("PARTITION"),
        Column::Right("COMMITTED"),
        Column::Right("END"),
        Column::Right("BEHIND"),
        Column::Right("OLDEST WAITS"),
    ];
    output.table(&columns, totals.iter().chain(&partitions).map(|of| of.row(output)).collect());
    if found.is_empty() {
        output.note("no group has committed anything yet");
    }
    Ok(Exit::Done.into())
}

fn look(broker: &BrokerSettings, wanted: Option<String>) -> anyhow::Result<Vec<Group>> {
    let names = match &wanted {
        Some(name) => vec![name.clone()],
        None => groups(broker)?,
    };
    let mut found = Vec::new();
    for name in names {
        let lags = lag(broker, &name)?;
        if !lags.is_empty() {
            // What retention took waits no longer.
            let behind = lags.iter().filter(|lag| lag.messages() > 0);
            let behind: Vec<_> =
                behind.map(|lag| ((lag.topic, lag.partition), lag.committed.max(lag.low))).collect();
            let since = waiting_since(broker, CLIENT, &behind, Instant::now() + SINCE_LIMIT)?;
            found.push(Group { name, lags, since });
        }
    }
    match wanted {
        Some(name) if found.is_empty() => Err(ended(
            Exit::NotFound,
            format!("group {name} has committed nothing: fulfil topic lag shows who has"),
        )),
        _ => Ok(found),
    }
}

impl Group {
    fn partitions(&self, now_ms: i64) -> impl Iterator<Item = LagObject<'_>> {
        self.lags.iter().map(move |lag| {
            let since = self.since.get(&(lag.topic, lag.partition));
            let seconds = match lag.messages() {
                0 => Some(0.0),
                // The broker's clock may be ahead of ours.
                _ => since.map(|at_ms| (now_ms - at_ms).max(0) as f64 / 1_000.0),
            };
            LagObject {
                group: &self.name,
                topic: Some(lag.topic.name()),
                partition: Some(lag.partition),
                committed: Some(lag.committed),
                end: Some(lag.end),
                messages: lag.messages(),
                seconds,
            }
        })
    }
}

fn total<'a>(group: &'a str, partitions: &[LagObject<'_>]) -> LagObject<'a> {
    let of_group = || partitions.iter().filter(|of| of.group == group);
    // One that is not known may be the oldest.
    let seconds = of_group().try_fold(0.0, |oldest: f64, of| of.seconds.map(|seconds| oldest.max(seconds)));
    let messages = of_group().map(|of| of.messages).sum();
    LagObject { group, topic: None, partition: None, committed: None, end: None, messages, seconds }
}

impl LagObject<'_> {
    fn row(&self, output: Output) -> Vec<String> {
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let tone = if self.messages > 0 { Tone::Warn } else { Tone::Dim };
        let waits = match self.seconds {
            Some(0.0) => "-".to_owned(),
            Some(seconds) => duration_ms((seconds * 1_000.0) as i64),
            None => "not known".to_owned(),
        };
        vec![
            if self.topic.is_none() { output.paint(Tone::Bold, self.group) } else { self.group.to_owned() },
            self.topic.unwrap_or("all").to_owned(),
            number(self.partition.map(i64::from)),
            number(self.committed),
            number(self.end),
            output.paint(tone, &count(self.messages)),
            waits,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(partition: i32, committed: i64) -> Lag {
        Lag { topic: Topic::OrdersEvents, partition, committed, low: 0, end: 10 }
    }

    #[test]
    fn a_group_is_behind_by_all_its_messages_and_as_long_as_its_oldest() {
        let mut group = Group {
            name: "g".to_owned(),
            lags: vec![lag(0, 4), lag(1, 9), lag(2, 10)],
            since: HashMap::from([((Topic::OrdersEvents, 0), 1_000), ((Topic::OrdersEvents, 1), 4_500)]),
        };
        let partitions: Vec<_> = group.partitions(6_000).collect();
        let seconds: Vec<_> = partitions.iter().map(|of| of.seconds).collect();
        assert_eq!(seconds, [Some(5.0), Some(1.5), Some(0.0)]);
        let all = total("g", &partitions);
        assert_eq!((all.messages, all.seconds, all.topic), (7, Some(5.0), None));
        drop(partitions);
        group.since.remove(&(Topic::OrdersEvents, 1));
        let partitions: Vec<_> = group.partitions(6_000).collect();
        assert_eq!(total("g", &partitions).seconds, None, "the other may have waited longer");
    }
}

//! What Kafka knows of a consumer group: its members, what it has committed, and since when the first message waits that it
//! has not. The services keep their positions in their databases and commit them to Kafka so that this can be asked.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    metadata::MetadataTopic,
};
use shared::{
    broker::{self, BrokerSettings, Logged, waiting_since},
    consumer::Place,
    contract::topics::Topic,
};

use super::assignment;
use crate::intake::GROUP;

/// With what the broker said of it.
#[derive(Debug, Default)]
pub struct Group {
    pub name: &'static str,
    /// As the broker names it: Stable, Empty, PreparingRebalance, … `None`: it did not say who is in the group either.
    pub state: Option<String>,
    /// By topic and number: those that the group has committed, and those that a member has. `None`: it did not say what is
    /// committed.
    pub partitions: Option<Vec<Partition>>,
    /// What it did not say, and why.
    pub unanswered: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub struct Partition {
    pub topic: Topic,
    pub partition: i32,
    /// `None`: nothing was committed yet.
    pub committed: Option<i64>,
    /// `None`: the broker did not say.
    pub end: Option<i64>,
    /// When the first message that waits came to the broker, in milliseconds; `None` where none waits or it could not be
    /// read in time.
    pub since_ms: Option<i64>,
    /// The instance that reads it; `None`: nobody does, or the broker did not say who is in the group.
    pub member: Option<String>,
}

/// What is found out of one partition after the other.
#[derive(Default)]
struct Found {
    committed: Option<i64>,
    member: Option<String>,
}

/// First and next offsets.
pub(super) type Spans = HashMap<Place, (i64, i64)>;

impl Partition {
    /// `None` where its end is not known.
    pub fn messages(&self) -> Option<i64> {
        self.end.map(|end| self.committed.map_or(0, |committed| (end - committed).max(0)))
    }
}

/// All partitions of our topics. Blocks, as the others here.
pub(super) fn places(broker: &BrokerSettings, deadline: Instant) -> anyhow::Result<Vec<Place>> {
    let metadata = consumer(broker, GROUP)?.fetch_metadata(None, left(deadline)?)?;
    let of_topic = |of: &MetadataTopic| {
        let (topic, partitions) = (Topic::parse(of.name()), of.partitions().len() as i32);
        topic.map(|topic| (0..partitions).map(move |partition| (topic, partition)))
    };
    Ok(metadata.topics().iter().filter_map(of_topic).flatten().collect())
}

pub(super) fn spans(broker: &BrokerSettings, places: &[Place], deadline: Instant) -> anyhow::Result<Spans> {
    broker::spans(&consumer(broker, GROUP)?, places, left(deadline)?)
}

/// What it has committed, and who is in it. One may be known without the other.
pub(super) fn group(
    broker: &BrokerSettings,
    name: &'static str,
    all: &[Place],
    spans: &Spans,
    deadline: Instant,
) -> Group {
    let mut unanswered = Vec::new();
    let mut known = |what: &str, error: anyhow::Error| unanswered.push(format!("{what}: {error:#}"));
    let committed = committed(broker, name, all, deadline).map_err(|error| known("its offsets", error)).ok();
    let described = described(broker, name, deadline).map_err(|error| known("its members", error)).ok();
    let (state, members) = described.unzip();
    let partitions = committed.map(|committed| {
        let mut found: BTreeMap<Place, Found> = BTreeMap::new();
        for (place, offset) in committed {
            found.entry(place).or_default().committed = Some(offset);
        }
        for (place, member) in members.into_iter().flatten() {
            found.entry(place).or_default().member = Some(member);
        }
        let partition = |(place, Found { committed, member }): (Place, Found)| Partition {
            topic: place.0,
            partition: place.1,
            committed,
            end: spans.get(&place).map(|(_, end)| *end),
            since_ms: None,
            member,
        };
        found.into_iter().map(partition).collect::<Vec<_>>()
    });
    let mut group = Group { name, state, partitions, unanswered };
    if let Err(error) = wait_since(broker, &mut group, spans, deadline) {
        group.unanswered.push(format!("since when its messages wait: {error:#}"));
    }
    group
}

fn committed(
    broker: &BrokerSettings,
    name: &str,
    all: &[Place],
    deadline: Instant,
) -> anyhow::Result<Vec<(Place, i64)>> {
    let mut asked = TopicPartitionList::new();
    for (topic, partition) in all {
        asked.add_partition(topic.name(), *partition);
    }
    let committed = consumer(broker, name)?.committed_offsets(asked, left(deadline)?)?;
    let known = committed.elements().into_iter().filter_map(|element| {
        match (Topic::parse(element.topic()), element.offset()) {
            (Some(topic), Offset::Offset(offset)) => Some(((topic, element.partition()), offset)),
            _ => None,
        }
    });
    Ok(known.collect())
}

/// Its state, and which instance has which partition.
fn described(
    broker: &BrokerSettings,
    name: &str,
    deadline: Instant,
) -> anyhow::Result<(String, Vec<(Place, String)>)> {
    let list = consumer(broker, GROUP)?.fetch_group_list(Some(name), left(deadline)?)?;
    // Nobody was ever in a group that the broker does not list.
    let Some(group) = list.groups().iter().find(|group| group.name() == name) else {
        return Ok(Default::default());
    };
    let mut members = Vec::new();
    for member in group.members() {
        let has = member.assignment().and_then(assignment::partitions).unwrap_or_default();
        let known = has.into_iter().filter_map(|(topic, partition)| Some((Topic::parse(&topic)?, partition)));
        members.extend(known.map(|place| (place, instance(member.id()))));
    }
    Ok((group.state().to_owned(), members))
}

fn wait_since(
    broker: &BrokerSettings,
    group: &mut Group,
    spans: &Spans,
    deadline: Instant,
) -> anyhow::Result<()> {
    let partitions = || group.partitions.iter().flatten();
    let behind = partitions().filter(|of| of.messages().is_some_and(|messages| messages > 0));
    let behind = behind.filter_map(|of| {
        let place = (of.topic, of.partition);
        // What retention took waits no longer.
        Some((place, of.committed?.max(spans.get(&place)?.0)))
    });
    let behind: Vec<_> = behind.collect();
    let since = waiting_since(broker, GROUP, &behind, deadline)?;
    for of in group.partitions.iter_mut().flatten() {
        of.since_ms = since.get(&(of.topic, of.partition)).copied();
    }
    Ok(())
}

/// Nobody waits any more for what is asked past that: nothing further is asked.
fn left(deadline: Instant) -> anyhow::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    ensure!(!left.is_zero(), "there was no time left to ask");
    Ok(left)
}

fn consumer(broker: &BrokerSettings, group: &str) -> anyhow::Result<BaseConsumer<Logged>> {
    broker.reader(group).create_with_context(Logged).context("the Kafka client refuses its settings")
}

/// The broker adds a UUID to the name of a static member.
fn instance(member_id: &str) -> String {
    let name = member_id.len().checked_sub(37).and_then(|end| {
        let (name, id) = member_id.split_at_checked(end)?;
        uuid::Uuid::try_parse(id.strip_prefix('-')?).ok().map(|_| name)
    });
    name.unwrap_or(member_id).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_named_as_its_instance() {
        assert_eq!(instance("host-8081-0b1d1f4e-7c7e-4a53-9a52-1f0a7c0a9d11"), "host-8081");
        for other in ["rdkafka", "", "ä-0b1d1f4e-7c7e-4a53-9a52-1f0a7c0a9d1", "-"] {
            assert_eq!(instance(other), other);
        }
    }

    #[test]
    fn what_was_never_committed_is_not_behind_and_without_an_end_nobody_knows() {
        let partition = |committed, end| Partition {
            topic: Topic::OrdersEvents,
            partition: 0,
            committed,
            end,
            since_ms: None,
            member: None,
        };
        let behind = [(Some(3), Some(10)), (None, Some(10)), (Some(3), None), (Some(10), Some(3))];
        let messages = behind.map(|(committed, end)| partition(committed, end).messages());
        assert_eq!(messages, [Some(7), Some(0), None, Some(0)]);
    }
}

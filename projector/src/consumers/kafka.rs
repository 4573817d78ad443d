//! What Kafka knows of a consumer group: its members, what it has committed, and since when the first message waits that it
//! has not. The services keep their positions in their databases and commit them to Kafka so that this can be asked.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use anyhow::Context;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use shared::{
    broker::{BrokerSettings, Logged, waiting_since},
    consumer::Place,
    contract::topics::Topic,
};

use super::{GROUPS, assignment};
use crate::intake::GROUP;

#[derive(Debug)]
pub struct Group {
    pub name: &'static str,
    /// As the broker names it: Stable, Empty, PreparingRebalance, …
    pub state: String,
    /// By topic and number: those that the group has committed, and those that a member has.
    pub partitions: Vec<Partition>,
}

#[derive(Debug, PartialEq)]
pub struct Partition {
    pub topic: Topic,
    pub partition: i32,
    /// `None`: nothing was committed yet.
    pub committed: Option<i64>,
    pub end: Option<i64>,
    /// When the first message that waits came to the broker, in milliseconds; `None` where none waits or it could not be
    /// read in time.
    pub since_ms: Option<i64>,
    /// The instance that reads it; `None`: nobody does.
    pub member: Option<String>,
}

/// What is found out of one partition after the other.
#[derive(Default)]
struct Found {
    committed: Option<i64>,
    member: Option<String>,
}

impl Partition {
    pub fn messages(&self) -> i64 {
        self.end.zip(self.committed).map_or(0, |(end, committed)| (end - committed).max(0))
    }
}

/// Blocks, for about as long as it is given.
pub(super) fn groups(broker: &BrokerSettings, within: Duration) -> anyhow::Result<Vec<Group>> {
    let deadline = Instant::now() + within;
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let reader = consumer(broker, GROUP)?;
    let metadata = reader.fetch_metadata(None, left()).context("the topics")?;
    let mut all = TopicPartitionList::new();
    for of in metadata.topics().iter().filter(|of| Topic::parse(of.name()).is_some()) {
        all.add_partition_range(of.name(), 0, of.partitions().len() as i32 - 1);
    }
    let mut groups = Vec::new();
    for name in GROUPS {
        let mut found: BTreeMap<Place, Found> = BTreeMap::new();
        let committed = consumer(broker, name)?
            .committed_offsets(all.clone(), left())
            .with_context(|| format!("the offsets of {name}"))?;
        for element in committed.elements() {
            if let (Some(topic), Offset::Offset(committed)) =
                (Topic::parse(element.topic()), element.offset())
            {
                found.entry((topic, element.partition())).or_default().committed = Some(committed);
            }
        }
        let list =
            reader.fetch_group_list(Some(name), left()).with_context(|| format!("the group {name}"))?;
        let described = list.groups().iter().find(|group| group.name() == name);
        for member in described.iter().flat_map(|group| group.members()) {
            let has = member.assignment().and_then(assignment::partitions).unwrap_or_default();
            for (topic, partition) in has {
                if let Some(topic) = Topic::parse(&topic) {
                    found.entry((topic, partition)).or_default().member = Some(instance(member.id()));
                }
            }
        }
        groups.push((name, described.map_or("", |group| group.state()).to_owned(), found));
    }
    let mut ends: HashMap<Place, (i64, i64)> = HashMap::new();
    for (_, _, found) in &groups {
        for (topic, partition) in found.keys() {
            if let Entry::Vacant(place) = ends.entry((*topic, *partition)) {
                let span = reader.fetch_watermarks(topic.name(), *partition, left());
                let span = span.with_context(|| format!("the ends of {topic}[{partition}]"))?;
                place.insert(span);
            }
        }
    }
    let mut since = HashMap::new();
    for (name, _, found) in &groups {
        let behind = found.iter().filter_map(|(place, found)| {
            let (low, end) = *ends.get(place)?;
            // What retention took waits no longer.
            found.committed.filter(|committed| *committed < end).map(|committed| (*place, committed.max(low)))
        });
        let behind: Vec<_> = behind.collect();
        for (place, at_ms) in waiting_since(broker, GROUP, &behind, deadline)? {
            since.insert((*name, place), at_ms);
        }
    }
    let partition = |name, place: Place, Found { committed, member }| Partition {
        topic: place.0,
        partition: place.1,
        committed,
        end: ends.get(&place).map(|(_, end)| *end),
        since_ms: since.get(&(name, place)).copied(),
        member,
    };
    let group = |(name, state, found): (&'static str, String, BTreeMap<Place, Found>)| Group {
        name,
        state,
        partitions: found.into_iter().map(|(place, found)| partition(name, place, found)).collect(),
    };
    Ok(groups.into_iter().map(group).collect())
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
    fn a_partition_of_which_something_is_not_known_is_not_behind() {
        let partition = |committed, end| Partition {
            topic: Topic::OrdersEvents,
            partition: 0,
            committed,
            end,
            since_ms: None,
            member: None,
        };
        let behind = [(Some(3), Some(10)), (None, Some(10)), (Some(3), None), (Some(10), Some(3))];
        assert_eq!(behind.map(|(committed, end)| partition(committed, end).messages()), [7, 0, 0, 0]);
    }
}

//! Where partitions begin and end.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::Logged;
use crate::{consumer::Place, contract::topics::Topic};

/// The first offset and the next one of each of these. Two questions to each leader, however many partitions there are. Blocks.
///
/// # Errors
/// Where one of them is not answered, or not within this time.
pub fn spans(
    consumer: &BaseConsumer<Logged>,
    places: &[Place],
    within: Duration,
) -> KafkaResult<HashMap<Place, (i64, i64)>> {
    if places.is_empty() {
        return Ok(HashMap::new());
    }
    let begun = Instant::now();
    let asked = |offset| -> KafkaResult<HashMap<Place, i64>> {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in places {
            list.add_partition_offset(topic.name(), *partition, offset)?;
        }
        // The client takes a place by name for the time that such a question is about.
        let found = consumer.offsets_for_times(list, within.saturating_sub(begun.elapsed()))?;
        let mut offsets = HashMap::new();
        for element in found.elements() {
            element.error()?;
            if let (Some(topic), Offset::Offset(offset)) = (Topic::parse(element.topic()), element.offset()) {
                offsets.insert((topic, element.partition()), offset);
            }
        }
        Ok(offsets)
    };
    let (lows, ends) = (asked(Offset::Beginning)?, asked(Offset::End)?);
    Ok(lows.into_iter().filter_map(|(place, low)| Some((place, (low, *ends.get(&place)?)))).collect())
}

//! Where partitions begin and end.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use super::Logged;
use crate::{consumer::Place, contract::topics::Topic};

/// The first offset and the next one of each of these. Two questions to each leader, however many partitions there are. Blocks.
///
/// # Errors
/// Where one of them is not answered, or not within this time; the error names it where the broker says nothing of it.
pub fn spans(
    consumer: &BaseConsumer<Logged>,
    places: &[Place],
    within: Duration,
) -> anyhow::Result<HashMap<Place, (i64, i64)>> {
    if places.is_empty() {
        return Ok(HashMap::new());
    }
    let begun = Instant::now();
    let asked = |offset| -> anyhow::Result<HashMap<Place, i64>> {
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
    together(places, &lows, &ends)
}

/// Nothing is left out: whoever asked would read past a partition without a word.
fn together(
    places: &[Place],
    lows: &HashMap<Place, i64>,
    ends: &HashMap<Place, i64>,
) -> anyhow::Result<HashMap<Place, (i64, i64)>> {
    let span = |place: &Place| {
        let (topic, partition) = place;
        let span = lows.get(place).zip(ends.get(place)).map(|(low, end)| (*low, *end));
        let missing = || format!("the broker does not say where {topic}[{partition}] begins and ends");
        Ok((*place, span.with_context(missing)?))
    };
    places.iter().map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_which_nothing_was_said_is_named() {
        let places = [(Topic::OrdersEvents, 0), (Topic::PaymentsEvents, 3)];
        let all = HashMap::from([(places[0], 2), (places[1], 5)]);
        let spans = together(&places, &all, &all).unwrap();
        assert_eq!(spans, HashMap::from([(places[0], (2, 2)), (places[1], (5, 5))]));
        let some = HashMap::from([(places[0], 2)]);
        for (lows, ends) in [(&some, &all), (&all, &some)] {
            let error = together(&places, lows, ends).unwrap_err().to_string();
            assert!(error.contains("payments.events[3]"), "{error}");
        }
    }
}

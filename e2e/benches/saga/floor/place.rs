//! A role's end of Kafka: reads whole topics without a group, and publishes without waiting.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use shared::{
    broker::BrokerSettings,
    contract::{envelope::Outgoing, topics::Topic},
};

use super::topics::{PARTITIONS, name};

/// What is fastest: the product's are smaller for the sake of its memory.
pub(super) const BATCH_MAX: usize = 1_000;
const PATIENCE: Duration = Duration::from_millis(100);
/// While something is under way, acknowledgements are heard this soon.
const LOOK: Duration = Duration::from_millis(2);
/// How late a sender that waits hears of one.
const SLICE: Duration = Duration::from_millis(1);

pub(super) struct Reader {
    consumer: BaseConsumer,
}

impl Reader {
    pub(super) fn open(broker: &BrokerSettings, topics: &[Topic]) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = broker.reader("floor").create()?;
        let mut all = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..PARTITIONS {
                all.add_partition_offset(&name(*topic), partition, Offset::Beginning)?;
            }
        }
        consumer.assign(&all)?;
        Ok(Self { consumer })
    }

    /// One with patience, then whatever is there.
    pub(super) fn take(
        &self,
        is_busy: bool,
        mut take: impl FnMut(&BorrowedMessage<'_>),
    ) -> anyhow::Result<usize> {
        let (mut taken, mut wait) = (0, if is_busy { LOOK } else { PATIENCE });
        while taken < BATCH_MAX {
            match self.consumer.poll(wait) {
                None => break,
                Some(message) => take(&message.context("reading")?),
            }
            taken += 1;
            wait = Duration::ZERO;
        }
        Ok(taken)
    }
}

pub(super) struct Publisher {
    producer: BaseProducer,
    names: HashMap<Topic, String>,
}

impl Publisher {
    pub(super) fn open(broker: &BrokerSettings) -> anyhow::Result<Self> {
        let names = super::topics::TOPICS.map(|topic| (topic, name(topic)));
        Ok(Self { producer: broker.producer().create()?, names: names.into() })
    }

    pub(super) fn send(&self, outgoing: &Outgoing) -> anyhow::Result<()> {
        let mut headers = OwnedHeaders::new_with_capacity(outgoing.headers.len());
        for (key, value) in &outgoing.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&self.names[&outgoing.topic]).key(&outgoing.key[..]).headers(headers);
        record.payload = outgoing.value.as_deref();
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.poll();
                    thread::sleep(SLICE);
                    record = back;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Hears acknowledgements. True where some are missing still.
    pub(super) fn poll(&self) -> bool {
        self.producer.poll(Duration::ZERO);
        self.producer.in_flight_count() > 0
    }

    pub(super) fn poll_until(&self, due: Instant) {
        while let left = due.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            // Not asked to wait: below a millisecond `poll` spins.
            self.poll();
            thread::sleep(left.min(SLICE));
        }
    }
}

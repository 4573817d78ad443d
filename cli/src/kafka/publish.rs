//! Publishing many messages at once: enqueue without waiting, count the delivery reports.

use std::{
    borrow::Cow,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};
use shared::{
    broker::{BrokerSettings, logged, topics::REQUEST_TIMEOUT},
    contract::{envelope::Outgoing, topics::Topic},
};

use crate::exit::{Exit, ended};

/// After that long without an acknowledgement a person wants to hear about it. (A service waits for ever.)
const DELIVERY_TIMEOUT_MS: &str = "30000";
const QUEUE_MESSAGES_MAX: &str = "100000";
/// How late an acknowledgement may be heard.
const HEAR: Duration = Duration::from_millis(1);
/// So many a second that a time can be told from the next, and so few that one comes.
const PER_SECOND: std::ops::RangeInclusive<f64> = 0.000_1..=1_000_000.0;

/// What is sent, well-formed or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub topic: Topic,
    /// Else the key's.
    pub partition: Option<i32>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(Cow<'static, str>, Option<Bytes>)>,
}

impl std::convert::From<Outgoing> for Record {
    fn from(outgoing: Outgoing) -> Self {
        let Outgoing { topic, key, value, headers } = outgoing;
        Self { topic, partition: None, key: Some(key), value, headers }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub partition: i32,
    pub offset: i64,
}

/// So many a second, evenly spaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub per_second: f64,
}

impl Rate {
    /// When the one of this number is due, from the first on.
    pub fn after(self, number: usize) -> Duration {
        Duration::from_secs_f64(number as f64 / self.per_second)
    }
}

impl std::str::FromStr for Rate {
    type Err = String;

    /// `50/s`, `600/m` or `50`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => 0.0,
        };
        match number.parse::<f64>() {
            Ok(number) if PER_SECOND.contains(&(number / seconds)) => {
                Ok(Self { per_second: number / seconds })
            }
            _ => Err(format!("{text:?} is not a rate such as 50/s, from 0.0001/s to 1000000/s")),
        }
    }
}

/// Publishes all of them, in order per key, and answers for each where it ended. Blocks.
///
/// # Errors
/// Nothing was sent: no broker, or a topic that is not there.
pub fn publish(
    broker: &BrokerSettings,
    records: &[Record],
    rate: Option<Rate>,
) -> anyhow::Result<Vec<Result<Delivered, String>>> {
    let publisher = Publisher::open(broker, records.iter().map(|record| record.topic))?;
    let begun = Instant::now();
    for (number, record) in records.iter().enumerate() {
        if let Some(rate) = rate {
            publisher.wait_until(begun + rate.after(number));
        }
        publisher.send(record);
    }
    Ok(publisher.finish())
}

/// Sends record after record without waiting for acknowledgements. Blocks the thread that it is used from.
pub struct Publisher {
    producer: BaseProducer<Reports>,
}

impl Publisher {
    /// # Errors
    /// No broker, or one of the topics is not there.
    pub fn open(broker: &BrokerSettings, topics: impl IntoIterator<Item = Topic>) -> anyhow::Result<Self> {
        let mut config = broker.producer();
        config.set("message.timeout.ms", DELIVERY_TIMEOUT_MS);
        config.set("queue.buffering.max.messages", QUEUE_MESSAGES_MAX);
        let reports = Reports { results: Mutex::new(Vec::new()) };
        let producer: BaseProducer<Reports> =
            config.create_with_context(reports).context("the Kafka client refuses its settings")?;
        check_topics(&producer, broker, topics)?;
        Ok(Self { producer })
    }

    /// Waits where the client's queue is full.
    pub fn send(&self, record: &Record) {
        let number = self.producer.context().expect_one();
        enqueue(&self.producer, number, record);
        self.producer.poll(Duration::ZERO);
    }

    /// Hears acknowledgements until then.
    pub fn wait_until(&self, due: Instant) {
        while let wait = due.saturating_duration_since(Instant::now())
            && !wait.is_zero()
        {
            hear(&self.producer, wait.min(HEAR));
        }
    }

    /// What became of every record, in the order in which they were sent.
    pub fn finish(self) -> Vec<Result<Delivered, String>> {
        while self.producer.in_flight_count() > 0 {
            hear(&self.producer, HEAR);
        }
        let results = std::mem::take(&mut *self.producer.context().lock());
        results.into_iter().map(|result| result.unwrap_or_else(|| Err("no report".to_owned()))).collect()
    }
}

/// `poll` always lasts its whole time, and spins for less than a millisecond: it is never asked to wait.
fn hear(producer: &BaseProducer<Reports>, then_sleep: Duration) {
    producer.poll(Duration::ZERO);
    thread::sleep(then_sleep);
}

fn enqueue(producer: &BaseProducer<Reports>, number: usize, record: &Record) {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for (name, value) in &record.headers {
        headers = headers.insert(Header { key: name, value: value.as_deref() });
    }
    let mut base: BaseRecord<'_, [u8], [u8], usize> =
        BaseRecord::with_opaque_to(record.topic.name(), number).headers(headers);
    base.key = record.key.as_deref();
    base.payload = record.value.as_deref();
    base.partition = record.partition;
    loop {
        match producer.send(base) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                hear(producer, HEAR);
                base = back;
            }
            // Too large for the client, or a partition that is not there: this one alone.
            Err((error, _)) => {
                producer.context().lock()[number] = Some(Err(error.to_string()));
                return;
            }
        }
    }
}

fn check_topics(
    producer: &BaseProducer<Reports>,
    broker: &BrokerSettings,
    topics: impl IntoIterator<Item = Topic>,
) -> anyhow::Result<()> {
    let metadata = producer.client().fetch_metadata(None, REQUEST_TIMEOUT).map_err(|error| {
        let text = format!(
            "Kafka at {} does not answer ({error}): is it up? fulfil dev up",
            broker.bootstrap_servers
        );
        ended(Exit::Unreachable, text)
    })?;
    for topic in topics {
        if !metadata.topics().iter().any(|known| known.name() == topic.name()) {
            bail!(ended(Exit::NotFound, format!("there is no topic {topic}: fulfil topic ensure")));
        }
    }
    Ok(())
}

struct Reports {
    results: Mutex<Vec<Option<Result<Delivered, String>>>>,
}

impl Reports {
    /// Its number, from 0.
    fn expect_one(&self) -> usize {
        let mut results = self.lock();
        results.push(None);
        results.len() - 1
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<Result<Delivered, String>>>> {
        self.results.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        logged::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        logged::failed(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, number: usize) {
        self.lock()[number] = Some(match report {
            Ok(message) => Ok(Delivered { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(error.to_string()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_so_many_a_time() {
        assert_eq!("50/s".parse::<Rate>().unwrap().per_second, 50.0);
        assert_eq!("600/m".parse::<Rate>().unwrap().per_second, 10.0);
        for bad in ["", "0", "-1/s", "x/s", "5/y", "inf", "NaN", "1e-300", "1e-320/h", "1e9/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}

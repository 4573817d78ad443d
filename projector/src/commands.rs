//! What is published for people: what they ask of the owners of dead letters, and in development messages by hand.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, future_producer::Delivery},
};
use shared::{
    broker::{BrokerSettings, Logged},
    contract::{
        Timestamp,
        envelope::{Outgoing, encode_manual},
        message::Message,
        topics::Topic,
    },
};
use uuid::Uuid;

/// Past this the asker is told that the broker did not take it. It may still arrive: a repeat changes nothing.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);

/// The source of what is published so.
pub const SOURCE: &str = "/fulfil/projector";

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    pub partition: i32,
    pub offset: i64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    producer: FutureProducer<Logged>,
}

impl Commands {
    pub fn new(broker: &BrokerSettings) -> anyhow::Result<Self> {
        let producer =
            broker.producer().create_with_context(Logged).context("creating the producer of commands")?;
        Ok(Self { producer })
    }

    /// Hands a command to the client: its id, and what becomes of it.
    pub fn command(
        &self,
        topic: Topic,
        command: &Message,
        subject: &str,
        key: Option<Bytes>,
        traceparent: &str,
    ) -> (Uuid, impl Future<Output = Result<Delivered, String>> + Send + use<>) {
        let (id, now) = (Uuid::now_v7(), Timestamp::from(std::time::SystemTime::now()));
        let command = encode_manual(topic, command, id, subject, SOURCE, now, Some(traceparent));
        (id, self.send(command, key))
    }

    /// Hands a message to the client, and waits until the broker has it. A message that died without a key is named by its id in
    /// the command; its commands have no key either.
    ///
    /// # Errors
    /// Why the broker did not take it, in words.
    pub fn send(
        &self,
        command: Outgoing,
        key: Option<Bytes>,
    ) -> impl Future<Output = Result<Delivered, String>> + Send + use<> {
        let headers = command.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name, value: value.as_deref() })
        });
        let mut record = FutureRecord::<[u8], [u8]>::to(command.topic.name()).headers(headers);
        record.key = key.as_deref();
        record.payload = command.value.as_deref();
        let handed = self.producer.send_result(record).map_err(|(error, _)| error.to_string());
        async move {
            match tokio::time::timeout(ACKNOWLEDGED_WITHIN, handed?).await {
                Ok(Ok(Ok(Delivery { partition, offset, .. }))) => Ok(Delivered { partition, offset }),
                Ok(Ok(Err((error, _)))) => Err(error.to_string()),
                Ok(Err(_)) => Err("the client was closed".to_owned()),
                Err(_) => Err(format!("no acknowledgement within {} s", ACKNOWLEDGED_WITHIN.as_secs())),
            }
        }
    }
}

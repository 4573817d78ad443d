//! The messages: the committed samples, told of other orders and written as the product writes them.

use shared::contract::{
    envelope::{self, Envelope, Headers, Mode, Outgoing, Part, Raw, Recorded},
    ids::{self, OrderId, Sku, StreamName},
    limits::QUANTITY_MAX,
    message::Message,
    order::{OrderCommand, OrderEvent},
    samples,
    stock::{ReservationEvent, StockCommand},
    topics::{PARTITIONS_DEFAULT, Topic, partition_of},
};
use uuid::Uuid;

/// Orders want stock of one sku among so many, as `fulfil load run` has it.
pub(crate) const SKUS: usize = 100;

pub(crate) struct Sample {
    envelope: Envelope,
    message: Message,
}

impl Sample {
    /// The sample of a type.
    pub(crate) fn of(message_type: &str) -> Self {
        let text = samples::sample(message_type).expect("every type has a sample");
        let raw = Raw {
            // Which one does not matter: the form is in the value.
            topic: Topic::OrdersCommands,
            partition: 0,
            offset: 0,
            key: None,
            value: Some(text.into()),
            headers: Headers::Readable(Vec::new()),
            timestamp_ms: 0,
        };
        let envelope = envelope::decode(&raw, Mode::Development).expect("a sample is valid");
        let message = Message::decode(&envelope.message_type, &envelope.data);
        let message = message.and_then(Result::ok).expect("a sample is of the contract");
        Self { envelope, message }
    }

    /// As the consumer hands it over, told of another order or sku. Of two messages the one with the larger number
    /// has the larger offset.
    pub(crate) fn about(&self, number: usize) -> Raw {
        let (order_id, sku) = (order_id(number), sku(number));
        let mut message = self.message.clone();
        match &mut message {
            Message::OrderCommand(OrderCommand::Create(create)) => {
                create.order_id = order_id;
                create.lines.iter_mut().for_each(|line| line.sku = sku.clone());
            }
            Message::Order(OrderEvent::Created(created)) => {
                created.order_id = order_id;
                created.lines.iter_mut().for_each(|line| line.sku = sku.clone());
            }
            Message::Reservation(ReservationEvent::Reserved(reserved)) => {
                reserved.order_id = order_id;
                reserved.lines.iter_mut().for_each(|line| line.sku = sku.clone());
            }
            Message::StockCommand(StockCommand::Receive(receive)) => {
                receive.sku = sku;
                receive.quantity = QUANTITY_MAX;
            }
            other => panic!("nothing here takes {}", other.message_type()),
        }
        let Outgoing { topic, key, value, headers } = self.written(&message, number);
        Raw {
            topic,
            partition: partition_of(&key, PARTITIONS_DEFAULT),
            offset: number as i64,
            key: Some(key),
            value,
            headers: Headers::Readable(headers),
            timestamp_ms: self.envelope.time.map_or(0, |time| time.timestamp_millis()),
        }
    }

    /// A command as the edge writes it, an event as its service publishes it.
    fn written(&self, message: &Message, number: usize) -> Outgoing {
        let Envelope { source, time, traceparent, .. } = &self.envelope;
        let (topic, key) = (message.topic(), message.key().expect("each is about an order or a sku"));
        let time = time.expect("a sample has a time");
        let id = ids::named(&[message.message_type(), &number.to_string()]);
        let Some(category) = topic.category() else {
            return envelope::encode_manual(topic, message, id, &key, source, time, traceparent.as_deref());
        };
        let recorded = Recorded {
            position: number as i64 + 1,
            stream: StreamName::parse(&format!("{category}-{key}"))
                .expect("a stream has a category and a key"),
            version: 1,
            event_id: id,
            event_type: message.message_type().to_owned(),
            data: message.data(),
            decision: Part { index: 1, count: 1 },
            correlation_id: order_id(number).uuid(),
            causation_id: ids::named(&[&id.to_string()]),
            traceparent: traceparent.clone(),
            recorded_at: time,
        };
        let service = source.rsplit('/').next().unwrap_or_default();
        recorded.encode(service).expect("a stream of ours has a topic")
    }
}

fn order_id(number: usize) -> OrderId {
    /// Of the samples.
    const FIRST: u128 = 0x0198_f3c2_5a10_7c31_9d44_0a4b_e1c2_5f01;
    OrderId::new(Uuid::from_u128(FIRST + number as u128)).expect("is not nil")
}

fn sku(number: usize) -> Sku {
    format!("SKU-{}", number % SKUS).parse().expect("is a sku")
}

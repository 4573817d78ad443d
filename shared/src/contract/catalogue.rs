//! The list of all message types with topic and schema: what `fulfil event types` prints, what `shared/schemas`
//! is compared with, and what the samples must cover.

use schemars::{Schema, schema_for};

use super::{
    dead_letter::DeadLetterCommand,
    order::{OrderCommand, OrderEvent},
    payment::PaymentEvent,
    stock::{ReservationEvent, StockCommand, StockEvent},
    topics::Topic,
    upcast::{self, OrderV1},
};

/// One version of one message.
pub struct Entry {
    pub message_type: &'static str,
    pub topic: Topic,
    pub schema: Schema,
    /// The version that is written today; older ones are only read.
    pub newest: bool,
}

impl Entry {
    /// `stock.reserved:1`, the tail of the `dataschema` URN.
    pub fn schema_name(&self) -> String {
        schema_name(self.message_type)
    }
}

/// `fulfil.stock.reserved.v1` -> `stock.reserved:1`.
pub fn schema_name(message_type: &str) -> String {
    let name = message_type.strip_prefix("fulfil.").unwrap_or(message_type);
    match name.rsplit_once('.').and_then(|(name, version)| Some((name, version.strip_prefix('v')?))) {
        Some((name, version)) => [name, ":", version].concat(),
        None => name.to_owned(),
    }
}

/// `fulfil.order.created.v2` -> `order.created`.
pub fn label(message_type: &str) -> &str {
    let name = message_type.strip_prefix("fulfil.").unwrap_or(message_type);
    match name.rsplit_once(".v") {
        Some((name, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

/// Every version of every message, in the order of the topics.
pub fn entries() -> Vec<Entry> {
    let families = [
        (Topic::OrdersCommands, OrderCommand::schemas()),
        (Topic::OrdersEvents, OrderEvent::schemas()),
        (Topic::InventoryCommands, StockCommand::schemas()),
        (Topic::InventoryEvents, ReservationEvent::schemas()),
        (Topic::InventoryStock, StockEvent::schemas()),
        (Topic::PaymentsEvents, PaymentEvent::schemas()),
        (Topic::DeadLettersCommands, DeadLetterCommand::schemas()),
    ];
    let mut entries = Vec::new();
    for (topic, schemas) in families {
        for (message_type, schema) in schemas {
            let old = upcast::steps().filter(|(_, to)| *to == message_type);
            entries.extend(old.map(|(from, _)| Entry {
                message_type: from,
                topic,
                schema: schema_for!(OrderV1),
                newest: false,
            }));
            entries.push(Entry { message_type, topic, schema, newest: true });
        }
    }
    entries
}

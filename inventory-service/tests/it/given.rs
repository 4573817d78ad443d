//! A warehouse as the messages that made it, and the words of the tests.

use inventory_service::{
    Inventory,
    domain::{Command, InventoryEvent, Stock},
};
use shared::{
    contract::{
        Timestamp,
        envelope::Envelope,
        ids::{OrderId, Sku, StreamName},
        message::Message,
        money::{Currency, Money},
        order::*,
        stock::*,
    },
    decider::{Decider, Decision, Refusal, Told, Via},
    testing::memory::{Memory, told},
};
use uuid::Uuid;

pub(crate) type Outcome = Result<Decision<InventoryEvent, std::convert::Infallible>, Refusal>;

pub(crate) fn order_id(number: u128) -> OrderId {
    OrderId::new(Uuid::from_u128(number)).unwrap()
}

pub(crate) fn sku(name: &str) -> Sku {
    name.parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    "2026-11-24T10:02:11.034Z".parse().unwrap()
}

/// An order of so many of each.
pub(crate) fn created(order: u128, lines: &[(&str, i64)]) -> Message {
    let lines: Vec<Line> = lines
        .iter()
        .map(|(name, quantity)| Line { sku: sku(name), quantity: *quantity, unit_price_minor: 100 })
        .collect();
    let amount = Money::new(sum_minor(&lines).unwrap(), Currency::EUR);
    let (order_id, user_id) = (order_id(order), "u1".parse().unwrap());
    Message::Order(
        OrderCreated { order_id, user_id, lines, amount, deadline_at: Some(now()), deadline_given: false }
            .into(),
    )
}

pub(crate) fn confirmed(order: u128) -> Message {
    Message::Order(OrderConfirmed { order_id: order_id(order) }.into())
}

pub(crate) fn cancelled(order: u128) -> Message {
    let (reason, by, stage) = (CancelReason::Customer, CancelledBy::Customer, CancelStage::Created);
    Message::Order(OrderCancelled { order_id: order_id(order), reason, by, note: None, stage }.into())
}

pub(crate) fn receive(name: &str, quantity: i64, reference: Option<&str>) -> Message {
    let reference = reference.map(str::to_owned);
    Message::StockCommand(ReceiveStock { sku: sku(name), quantity, reference }.into())
}

pub(crate) fn adjust(name: &str, delta: i64, reference: Option<&str>) -> Message {
    let (reason, reference) = ("count".to_owned(), reference.map(str::to_owned));
    Message::StockCommand(AdjustStock { sku: sku(name), delta, reason, reference }.into())
}

pub(crate) fn lines(lines: &[(&str, i64)]) -> Vec<StockLine> {
    lines.iter().map(|(name, quantity)| StockLine { sku: sku(name), quantity: *quantity }).collect()
}

/// A warehouse that heard this.
pub(crate) fn given(messages: &[Message]) -> Memory<Inventory> {
    let mut warehouse = Memory::new(Inventory);
    for message in messages {
        when(&mut warehouse, message).unwrap_or_else(|refusal| panic!("{message:?}: {refusal:?}"));
    }
    warehouse
}

/// Tells it, under an id of its own.
pub(crate) fn when(warehouse: &mut Memory<Inventory>, message: &Message) -> Outcome {
    let id = Uuid::from_u128(warehouse.log.len() as u128 + 1);
    tell(warehouse, message, id)
}

pub(crate) fn tell(warehouse: &mut Memory<Inventory>, message: &Message, id: Uuid) -> Outcome {
    let command = warehouse.decider.react(message, &envelope(message, id, Some(1))).expect("concerns it");
    warehouse.handle(&command, &told(id, now()))
}

pub(crate) fn ask(warehouse: &mut Memory<Inventory>, command: &Command) -> Outcome {
    warehouse.handle(command, &Told { via: Via::Http, ..told(Uuid::from_u128(77), now()) })
}

pub(crate) fn envelope(message: &Message, id: Uuid, position: Option<i64>) -> Envelope {
    Envelope {
        id,
        source: "/fulfil/test".into(),
        message_type: message.message_type().into(),
        data: String::new(),
        time: None,
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        sequence: position,
        position,
        decision: None,
    }
}

pub(crate) fn events(outcome: &Outcome) -> Vec<InventoryEvent> {
    let decision = outcome.as_ref().expect("no refusal");
    decision.events.iter().map(|decided| decided.event.clone()).collect()
}

pub(crate) fn levels(warehouse: &Memory<Inventory>, name: &str) -> (i64, i64) {
    let Stock { on_hand, reserved } = warehouse.state(&StreamName::stock(&sku(name))).stock();
    (on_hand, reserved)
}

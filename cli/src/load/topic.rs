//! Sending orders as commands on `orders.commands`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use shared::contract::{
    envelope::encode_manual,
    message::Message,
    order::{CancelOrder, OrderCommand},
    topics::Topic,
};
use uuid::Uuid;

use super::{
    book::{Book, Told},
    mix::Fate,
    pace::Pace,
    traffic::{Order, Traffic},
};
use crate::{
    event::{SOURCE_CLI, now},
    kafka::{Publisher, Record},
};

/// How often it looks whether there is room again, and whether it shall stop.
const LOOK: Duration = Duration::from_millis(1);
const SLICE: Duration = Duration::from_millis(100);

/// Blocks until all are acknowledged, or it is stopped.
pub(super) fn send(
    publisher: Publisher,
    traffic: &mut Traffic,
    pace: Pace,
    book: &Book,
    begun: Instant,
    stopped: &AtomicBool,
) {
    let is_stopped = || stopped.load(Ordering::Relaxed);
    // Of each record; `None` for a cancellation.
    let mut created: Vec<Option<Uuid>> = Vec::new();
    for number in 0..pace.orders {
        let due = pace.due(number);
        while begun.elapsed() < due && !is_stopped() {
            publisher.wait_until((begun + due).min(Instant::now() + SLICE));
        }
        while book.counts().under_way >= pace.in_flight_max && !is_stopped() {
            publisher.wait_until(Instant::now() + LOOK);
        }
        if is_stopped() {
            break;
        }
        let Order { fate, create, .. } = traffic.order();
        let order_id = create.order_id;
        // As fast as taken, an order is due when its turn comes.
        let due = if pace.is_open() { due } else { begun.elapsed() };
        book.open(order_id.uuid(), fate, due);
        publisher.send(&record(OrderCommand::Create(create), order_id.uuid()));
        created.push(Some(order_id.uuid()));
        if fate == Fate::Cancelled {
            let cancel = CancelOrder { order_id, reason: None, by: None };
            publisher.send(&record(OrderCommand::Cancel(cancel), order_id.uuid()));
            created.push(None);
        }
    }
    for (order, sent) in created.into_iter().zip(publisher.finish()) {
        if let Some(order) = order {
            // What the client gave up may have come to the broker all the same.
            book.told(order, if sent.is_ok() { Told::Accepted } else { Told::Lost }, None);
        }
    }
}

pub(super) fn record(command: OrderCommand, order: Uuid) -> Record {
    let message = Message::OrderCommand(command);
    let (topic, id) = (Topic::OrdersCommands, Uuid::now_v7());
    encode_manual(topic, &message, id, &order.to_string(), SOURCE_CLI, now(), None).into()
}

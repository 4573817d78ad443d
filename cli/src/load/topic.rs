//! Sending orders as commands on `orders.commands`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use shared::{
    broker::BrokerSettings,
    contract::{
        envelope::encode_manual,
        message::Message,
        order::{CancelOrder, OrderCommand},
        topics::Topic,
    },
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

/// How often a closed loop looks whether there is room again.
const LOOK: Duration = Duration::from_millis(1);

/// Blocks until all are acknowledged.
pub(super) fn send(
    broker: &BrokerSettings,
    traffic: &mut Traffic,
    pace: Pace,
    book: &Arc<Book>,
    begun: Instant,
    stopped: &AtomicBool,
) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(broker, [Topic::OrdersCommands])?;
    // Of each record; `None` for a cancellation.
    let mut created: Vec<Option<Uuid>> = Vec::new();
    for number in 0..pace.orders {
        let due = pace.due(number);
        publisher.wait_until(begun + due);
        while book.count_ended().saturating_add(pace.in_flight_max) <= number
            && !stopped.load(Ordering::Relaxed)
        {
            publisher.wait_until(Instant::now() + LOOK);
        }
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let Order { fate, create, .. } = traffic.order();
        let order_id = create.order_id;
        // As fast as taken, an order is due when its turn comes.
        let due = if pace.is_open() { due } else { begun.elapsed() };
        book.open(order_id.uuid(), fate, due);
        publisher.send(&record(OrderCommand::Create(create), order_id.uuid()))?;
        created.push(Some(order_id.uuid()));
        if fate == Fate::Cancelled {
            let cancel = CancelOrder { order_id, reason: None, by: None };
            publisher.send(&record(OrderCommand::Cancel(cancel), order_id.uuid()))?;
            created.push(None);
        }
    }
    for (order, sent) in created.into_iter().zip(publisher.finish()) {
        if let (Some(order), Ok(_)) = (order, sent) {
            book.told(order, Told::Accepted, None);
        }
    }
    Ok(())
}

fn record(command: OrderCommand, order: Uuid) -> Record {
    let message = Message::OrderCommand(command);
    let (topic, id) = (Topic::OrdersCommands, Uuid::now_v7());
    encode_manual(topic, &message, id, &order.to_string(), SOURCE_CLI, now(), None).into()
}

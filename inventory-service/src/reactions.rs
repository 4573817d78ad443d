//! The saga as inventory-service hears it. Pure: a message in, what it asks of the stock out.

use shared::contract::{envelope::Envelope, message::Message, order::OrderEvent, stock::StockCommand};
use uuid::Uuid;

use crate::domain::{Adjust, Command, Receive, Reserve};

pub fn react(message: &Message, envelope: &Envelope) -> Option<Command> {
    match message {
        Message::Order(event) => match event {
            // A foreign one has no position. It is order-service's to adopt, whose own OrderCreated follows.
            OrderEvent::Created(_) if envelope.position.is_none() => None,
            OrderEvent::Created(event) => Some(Command::Reserve(Reserve {
                order_id: event.order_id,
                lines: event.lines.clone(),
                amount: event.amount,
            })),
            OrderEvent::Confirmed(event) => Some(Command::Commit(event.order_id)),
            OrderEvent::Cancelled(event) => Some(Command::Return(event.order_id)),
            OrderEvent::Progressed(_)
            | OrderEvent::Completed(_)
            | OrderEvent::Settled(_)
            | OrderEvent::CancellationRejected(_) => None,
        },
        Message::StockCommand(command) => Some(asked(command, envelope.id)),
        Message::Reservation(_)
        | Message::Stock(_)
        | Message::Payment(_)
        | Message::OrderCommand(_)
        | Message::DeadLetterCommand(_) => None,
    }
}

/// What the edge asks of a sku. Lacking a reference, the message itself counts once.
pub fn asked(command: &StockCommand, message_id: Uuid) -> Command {
    let reference = |given: &Option<String>| given.clone().unwrap_or_else(|| message_id.to_string());
    match command {
        StockCommand::Receive(command) => Command::Receive(Receive {
            sku: command.sku.clone(),
            quantity: command.quantity,
            reference: reference(&command.reference),
        }),
        StockCommand::Adjust(command) => Command::Adjust(Adjust {
            sku: command.sku.clone(),
            delta: command.delta,
            reason: command.reason.clone(),
            reference: reference(&command.reference),
        }),
    }
}

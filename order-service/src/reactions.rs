//! The saga as order-service hears it. Pure: a message in, what it asks of the order out.

use shared::contract::{
    envelope::Envelope,
    message::Message,
    order::{CreateOrder, OrderCommand, OrderCreated, OrderEvent},
    payment::PaymentEvent,
    stock::ReservationEvent,
};

use crate::domain::Command;

pub fn react(message: &Message, envelope: &Envelope) -> Option<Command> {
    match message {
        Message::OrderCommand(OrderCommand::Create(create)) => Some(Command::Create(create.clone())),
        Message::OrderCommand(OrderCommand::Cancel(cancel)) => Some(Command::Cancel(cancel.clone())),
        // An event that has no position was not written by us: it starts an order like a command.
        Message::Order(OrderEvent::Created(created)) if envelope.position.is_none() => {
            Some(Command::Create(adopted(created)))
        }
        Message::Order(_) => None,
        Message::Reservation(event) => match event {
            ReservationEvent::Reserved(_) => None,
            ReservationEvent::Rejected(event) => Some(Command::StockRejected(event.order_id)),
            ReservationEvent::Committed(event) => Some(Command::StockCommitted(event.order_id)),
            ReservationEvent::Released(event) => Some(Command::StockReturned(event.order_id)),
            ReservationEvent::Restocked(event) => Some(Command::StockReturned(event.order_id)),
        },
        Message::Payment(event) => match event {
            PaymentEvent::Authorized(event) => Some(Command::PaymentAuthorized(event.order_id)),
            PaymentEvent::Declined(event) => Some(Command::PaymentDeclined(event.order_id)),
            PaymentEvent::Captured(event) => Some(Command::PaymentCaptured(event.order_id)),
            PaymentEvent::CaptureFailed(event) => Some(Command::PaymentCaptureFailed(event.order_id)),
            PaymentEvent::Voided(event) => Some(Command::PaymentReturned(event.order_id)),
            PaymentEvent::Refunded(event) => Some(Command::PaymentReturned(event.order_id)),
            PaymentEvent::Abandoned(event) => Some(Command::PaymentReturned(event.order_id)),
            // Between payment-service and its provider.
            PaymentEvent::Requested(_)
            | PaymentEvent::CaptureRequested(_)
            | PaymentEvent::ReversalRequested(_)
            | PaymentEvent::OutcomeUnknown(_) => None,
        },
        Message::Stock(_) | Message::StockCommand(_) | Message::DeadLetterCommand(_) => None,
    }
}

fn adopted(created: &OrderCreated) -> CreateOrder {
    CreateOrder {
        order_id: created.order_id,
        user_id: created.user_id.clone(),
        lines: created.lines.clone(),
        amount: created.amount,
        deadline_at: created.deadline_at,
    }
}

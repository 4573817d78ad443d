//! The saga as payment-service lives it: what it hears, and what that makes it do.

use shared::contract::{message::Message, order::OrderEvent, stock::ReservationEvent};

use crate::domain::Command;

pub fn react(message: &Message) -> Option<Command> {
    match message {
        Message::Reservation(ReservationEvent::Reserved(event)) => {
            Some(Command::RequestPayment { order_id: event.order_id, amount: event.amount })
        }
        Message::Order(OrderEvent::Confirmed(event)) => {
            Some(Command::CapturePayment { order_id: event.order_id })
        }
        Message::Order(OrderEvent::Cancelled(event)) => {
            Some(Command::ReversePayment { order_id: event.order_id })
        }
        Message::Order(
            OrderEvent::Created(_)
            | OrderEvent::Progressed(_)
            | OrderEvent::Completed(_)
            | OrderEvent::Settled(_)
            | OrderEvent::CancellationRejected(_),
        ) => None,
        // A rejected reservation is answered by the order, with an OrderCancelled.
        Message::Reservation(
            ReservationEvent::Rejected(_)
            | ReservationEvent::Committed(_)
            | ReservationEvent::Released(_)
            | ReservationEvent::Restocked(_),
        ) => None,
        Message::Stock(_)
        | Message::Payment(_)
        | Message::OrderCommand(_)
        | Message::StockCommand(_)
        | Message::DeadLetterCommand(_) => None,
    }
}

//! The invariants: of the touched streams after each step, of all at the end.

use inventory_service::{
    Inventory,
    domain::{InventoryEvent, Reservation},
};
use order_service::{Orders, domain::Order};
use payment_service::{
    Payments,
    domain::{Stage, record::Held},
    provider::books::Books,
};
use shared::{
    contract::{
        ids::{OrderId, StreamName},
        order::OrderEvent,
        stock::*,
    },
    testing::memory::Memory,
};

use super::traffic::{self, SKUS};

/// What the stock must be, summed up from what happened and never from the levels that the events carry.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    on_hand: [i64; SKUS],
    reserved: [i64; SKUS],
    /// Per reservation that holds or has committed: its lines.
    holds: std::collections::HashMap<OrderId, Vec<StockLine>>,
}

impl Audit {
    /// After a decision of inventory-service. `Err` names what is violated.
    pub(crate) fn of_inventory(
        &mut self,
        inventory: &Memory<Inventory>,
        events: &[InventoryEvent],
    ) -> Result<(), String> {
        let mut touched = Vec::new();
        for event in events {
            match event {
                InventoryEvent::Reservation(event) => self.of_reservation(event, &mut touched),
                InventoryEvent::Stock(event) => {
                    let sku = traffic::number_of(event.sku());
                    touched.push(sku);
                    match event {
                        StockEvent::Received(event) if event.reason == ReceivedReason::Receipt => {
                            self.on_hand[sku] += event.delta;
                        }
                        StockEvent::Adjusted(event) => self.on_hand[sku] += event.delta,
                        // They follow the reservation, and are compared with it below.
                        StockEvent::Received(_)
                        | StockEvent::Allocated(_)
                        | StockEvent::Deallocated(_)
                        | StockEvent::Shipped(_) => {}
                    }
                }
            }
        }
        for sku in touched {
            self.stock(inventory, sku)?;
        }
        Ok(())
    }

    fn of_reservation(&mut self, event: &ReservationEvent, touched: &mut Vec<usize>) {
        let (order_id, on_hand, reserved) = match event {
            ReservationEvent::Reserved(event) => {
                self.holds.insert(event.order_id, event.lines.clone());
                (event.order_id, 0, 1)
            }
            ReservationEvent::Committed(event) => (event.order_id, -1, -1),
            ReservationEvent::Released(event) => (event.order_id, 0, -1),
            ReservationEvent::Restocked(event) => (event.order_id, 1, 0),
            ReservationEvent::Rejected(_) => return,
        };
        for line in self.holds.get(&order_id).into_iter().flatten() {
            let sku = traffic::number_of(&line.sku);
            self.on_hand[sku] += on_hand * line.quantity;
            self.reserved[sku] += reserved * line.quantity;
            touched.push(sku);
        }
    }

    fn stock(&self, inventory: &Memory<Inventory>, sku: usize) -> Result<(), String> {
        let stock = inventory.state(&StreamName::stock(&traffic::sku(sku))).stock();
        let expected = (self.on_hand[sku], self.reserved[sku]);
        let (on_hand, reserved) = (stock.on_hand, stock.reserved);
        if !(0 <= reserved && reserved <= on_hand) {
            return Err(format!("sku {sku}: {reserved} reserved of {on_hand} on hand"));
        }
        if (on_hand, reserved) != expected {
            return Err(format!("sku {sku}: {stock:?}, but (on hand, reserved) add up to {expected:?}"));
        }
        Ok(())
    }

    pub(crate) fn every_stock(&self, inventory: &Memory<Inventory>) -> Result<(), String> {
        (0..SKUS).try_for_each(|sku| self.stock(inventory, sku))
    }
}

/// After a decision of order-service.
pub(crate) fn of_order(
    event: &OrderEvent,
    inventory: &Memory<Inventory>,
    payments: &Memory<Payments>,
    books: &Books,
) -> Result<(), String> {
    match event {
        OrderEvent::Completed(event) => completed(event.order_id, inventory, payments, books),
        OrderEvent::Settled(event) => {
            stock_is_returned(event.order_id, inventory)?;
            // A no that was none comes out by a callback or the comparison, later.
            let contradicted =
                books.record(event.order_id).amount.is_some_and(|amount| amount.minor % 100 == 18);
            if contradicted { Ok(()) } else { money_is_returned(event.order_id, books) }
        }
        OrderEvent::Created(_)
        | OrderEvent::Confirmed(_)
        | OrderEvent::Progressed(_)
        | OrderEvent::Cancelled(_)
        | OrderEvent::CancellationRejected(_) => Ok(()),
    }
}

fn completed(
    id: OrderId,
    inventory: &Memory<Inventory>,
    payments: &Memory<Payments>,
    books: &Books,
) -> Result<(), String> {
    let reservation = inventory.state(&StreamName::reservation(id));
    if !matches!(reservation.reservation(), Some(Reservation::Committed { .. })) {
        return Err(format!("completed, but the stock is {reservation:?}"));
    }
    let payment = payments.state(&StreamName::payment(id));
    if payment.stage != Stage::Captured {
        return Err(format!("completed, but the payment is {payment:?}"));
    }
    let (due, taken) = (payment.amount.map_or(0, |amount| amount.minor), taken_minor(books, id));
    if due != taken {
        return Err(format!("completed, {due} were due and {taken} are taken"));
    }
    Ok(())
}

fn settled(id: OrderId, inventory: &Memory<Inventory>, books: &Books) -> Result<(), String> {
    stock_is_returned(id, inventory)?;
    money_is_returned(id, books)
}

fn stock_is_returned(id: OrderId, inventory: &Memory<Inventory>) -> Result<(), String> {
    let reservation = inventory.state(&StreamName::reservation(id));
    if !matches!(
        reservation.reservation(),
        Some(Reservation::Rejected | Reservation::Released | Reservation::Restocked)
    ) {
        return Err(format!("settled, but the stock is {reservation:?}"));
    }
    Ok(())
}

fn money_is_returned(id: OrderId, books: &Books) -> Result<(), String> {
    let record = books.record(id);
    if record.held() != Held::Nothing {
        return Err(format!("settled, but the provider holds money: {record:?}"));
    }
    Ok(())
}

fn taken_minor(books: &Books, id: OrderId) -> i64 {
    books.page(id).map_or(0, |page| page.captured_minor)
}

/// An order when nothing is left to do.
pub(crate) fn ended(
    id: OrderId,
    orders: &Memory<Orders>,
    inventory: &Memory<Inventory>,
    payments: &Memory<Payments>,
    books: &Books,
) -> Result<bool, String> {
    if books.record(id).charges > 1 {
        return Err("charged twice".to_owned());
    }
    match orders.state(&StreamName::order(id)) {
        Order::Completed { .. } => completed(id, inventory, payments, books).map(|()| true),
        Order::Settled { .. } => settled(id, inventory, books).map(|()| false),
        order => Err(format!("nothing is left to do, and the order is {order:?}")),
    }
}

/// Of an order that a message asked to cancel.
pub(crate) fn cancel_was_answered(id: OrderId, orders: &Memory<Orders>) -> Result<(), String> {
    match orders.state(&StreamName::order(id)) {
        Order::Completed { cancellation_rejected: false, .. } => {
            Err("a cancel from the topic was neither done nor refused".to_owned())
        }
        _ => Ok(()),
    }
}

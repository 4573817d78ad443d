//! Stock as the view shows it: the reservation of an order, and the levels of a sku.

use serde::{Deserialize, Serialize};
use shared::contract::{
    ids::{OrderId, Sku},
    stock::{ReservationEvent, Shortage, StockEvent, StockLine},
};

use super::source::Source;

/// What inventory-service has told about an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Reservation {
    Reserved {
        lines: Vec<StockLine>,
    },
    Rejected {
        shortages: Vec<Shortage>,
    },
    Committed {
        lines: Vec<StockLine>,
    },
    /// Without lines: nothing was held.
    Released {
        lines: Vec<StockLine>,
    },
    Restocked {
        lines: Vec<StockLine>,
    },
}

/// One row of the stock view.
#[derive(Debug, Clone, PartialEq)]
pub struct StockRow {
    pub sku: Sku,
    pub levels: Source<Levels>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    pub on_hand: i64,
    pub reserved: i64,
}

impl Reservation {
    /// Whether inventory-service has nothing more to tell about the order.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Rejected { .. } | Self::Released { .. } | Self::Restocked { .. })
    }
}

impl StockRow {
    pub fn new(sku: Sku) -> Self {
        Self { sku, levels: Source::default() }
    }

    /// A sku that nobody has received has zero.
    pub fn levels(&self) -> Levels {
        self.levels.state.unwrap_or(Levels { on_hand: 0, reserved: 0 })
    }
}

pub fn evolve(state: Option<Reservation>, event: &ReservationEvent) -> Option<Reservation> {
    Some(match event {
        ReservationEvent::Reserved(reserved) => Reservation::Reserved { lines: reserved.lines.clone() },
        ReservationEvent::Rejected(rejected) => {
            Reservation::Rejected { shortages: rejected.shortages.clone() }
        }
        // What was committed is what was reserved: the event does not repeat it.
        ReservationEvent::Committed(_) => match state {
            Some(Reservation::Reserved { lines } | Reservation::Committed { lines }) => {
                Reservation::Committed { lines }
            }
            None
            | Some(
                Reservation::Rejected { .. } | Reservation::Released { .. } | Reservation::Restocked { .. },
            ) => return None,
        },
        ReservationEvent::Released(released) => Reservation::Released { lines: released.lines.clone() },
        ReservationEvent::Restocked(restocked) => Reservation::Restocked { lines: restocked.lines.clone() },
    })
}

/// The levels after an event stand in it. It must start from where the row is: a writer that lost count shows
/// here, and not in a stock that quietly goes wrong.
pub fn evolve_levels(state: Option<Levels>, event: &StockEvent) -> Option<Levels> {
    let before = state.unwrap_or(Levels { on_hand: 0, reserved: 0 });
    let (on_hand_delta, reserved_delta) = match event {
        StockEvent::Received(received) => (received.delta, 0),
        StockEvent::Adjusted(adjusted) => (adjusted.delta, 0),
        StockEvent::Allocated(allocated) => (0, allocated.delta),
        StockEvent::Deallocated(deallocated) => (0, deallocated.delta),
        StockEvent::Shipped(shipped) => (shipped.delta, shipped.delta),
    };
    let (on_hand, reserved) = event.levels();
    let adds_up = before.on_hand.checked_add(on_hand_delta) == Some(on_hand)
        && before.reserved.checked_add(reserved_delta) == Some(reserved);
    adds_up.then_some(Levels { on_hand, reserved })
}

/// The order that a movement of stock belongs to; none for receipts and adjustments.
pub fn order_of(event: &StockEvent) -> Option<OrderId> {
    match event {
        StockEvent::Received(received) => received.order_id,
        StockEvent::Adjusted(_) => None,
        StockEvent::Allocated(allocated) => Some(allocated.order_id),
        StockEvent::Deallocated(deallocated) => Some(deallocated.order_id),
        StockEvent::Shipped(shipped) => Some(shipped.order_id),
    }
}

//! Reservations and stock, decided together: all lines of an order or none, and `0 <= reserved <= on_hand` of every
//! sku.
//!
//! Nothing here waits, reads a clock or makes an id: both come in with the command.

mod event;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        ids::{OrderId, Sku, StreamName},
        limits::STOCK_LEVEL_MAX,
        money::Money,
        order::Line,
        stock::*,
    },
    decider::{Class, Refusal},
};

pub use event::InventoryEvent;

/// The state of one stream: of a reservation, or of the stock of a sku. A stream without events is `None`: an order
/// that nobody reserved for, a sku of which there is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    #[default]
    None,
    Reservation(Reservation),
    Stock(Stock),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reservation {
    Reserved {
        lines: Vec<StockLine>,
    },
    Committed {
        lines: Vec<StockLine>,
    },
    Rejected,
    /// Also the tombstone of an order that was cancelled before anything was reserved for it.
    Released,
    Restocked,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stock {
    pub on_hand: i64,
    pub reserved: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Reserve(Reserve),
    Commit(OrderId),
    /// Gives back what is held or was committed.
    Return(OrderId),
    Receive(Receive),
    Adjust(Adjust),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    pub order_id: OrderId,
    /// As ordered: a sku can stand on more than one line.
    pub lines: Vec<Line>,
    pub amount: Money,
}

/// `reference` makes it count once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receive {
    pub sku: Sku,
    pub quantity: i64,
    pub reference: String,
}

/// `reference` makes it count once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjust {
    pub sku: Sku,
    pub delta: i64,
    pub reason: String,
    pub reference: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("nothing is known of a reservation for this order yet")]
    Unknown,
    #[error("{reserved} of {on_hand} on hand are reserved, which leaves too little for this adjustment")]
    InsufficientStock { on_hand: i64, reserved: i64 },
    #[error("levels of stock are at most {STOCK_LEVEL_MAX}")]
    OverLimit,
    #[error("another change of stock was made under this reference")]
    ReferenceReused,
    /// Somebody tells what cannot have happened.
    #[error("no reservation that was rejected can be told this")]
    Contradiction,
    /// The fold of the log holds less than a reservation in it.
    #[error("stock would hold no 0 <= reserved <= on_hand")]
    Levels,
}

/// What a decision can see.
#[derive(Debug, Clone, Default)]
pub struct Seen<'a> {
    pub reservation: Option<&'a Reservation>,
    /// Of every sku that the command names or the reservation holds; a sku that is missing has nothing.
    pub stocks: BTreeMap<Sku, Stock>,
    /// What was appended under the command's identity before.
    pub existing: Option<&'a InventoryEvent>,
}

/// The reservation's event comes first, then one for the stock of each sku.
pub fn decide(seen: &Seen<'_>, command: &Command) -> Result<Vec<InventoryEvent>, Rejection> {
    match command {
        Command::Reserve(reserve) => reserved(seen, reserve),
        Command::Commit(order_id) => match seen.reservation {
            None => Err(Rejection::Unknown),
            Some(Reservation::Reserved { lines }) => {
                let committed = StockCommitted { order_id: *order_id };
                with_stocks(seen, committed, lines, |line, stock| shipped(*order_id, line, stock))
            }
            Some(Reservation::Rejected) => Err(Rejection::Contradiction),
            // After a release the cancel has won, and the order will settle.
            Some(Reservation::Committed { .. } | Reservation::Released | Reservation::Restocked) => {
                Ok(vec![])
            }
        },
        Command::Return(order_id) => match seen.reservation {
            // The tombstone: whatever comes later finds that there is nothing to do.
            None => {
                Ok(vec![ReservationEvent::from(StockReleased { order_id: *order_id, lines: vec![] }).into()])
            }
            Some(Reservation::Reserved { lines }) => {
                let released = StockReleased { order_id: *order_id, lines: lines.clone() };
                with_stocks(seen, released, lines, |line, stock| deallocated(*order_id, line, stock))
            }
            Some(Reservation::Committed { lines }) => {
                let restocked = StockRestocked { order_id: *order_id, lines: lines.clone() };
                with_stocks(seen, restocked, lines, |line, stock| restock(*order_id, line, stock))
            }
            // StockRejected was the receipt.
            Some(Reservation::Rejected | Reservation::Released | Reservation::Restocked) => Ok(vec![]),
        },
        Command::Receive(receive) => received(seen, receive),
        Command::Adjust(adjust) => adjusted(seen, adjust),
    }
}

/// Obeys: an event happened, whatever one would have thought of it.
pub fn evolve(state: State, event: &InventoryEvent) -> State {
    match event {
        InventoryEvent::Reservation(event) => State::Reservation(match event {
            ReservationEvent::Reserved(event) => Reservation::Reserved { lines: event.lines.clone() },
            ReservationEvent::Rejected(_) => Reservation::Rejected,
            ReservationEvent::Committed(_) => Reservation::Committed { lines: state.into_lines() },
            ReservationEvent::Released(_) => Reservation::Released,
            ReservationEvent::Restocked(_) => Reservation::Restocked,
        }),
        // Every event of a stock says the levels after it.
        InventoryEvent::Stock(event) => {
            let (on_hand, reserved) = event.levels();
            State::Stock(Stock { on_hand, reserved })
        }
    }
}

fn reserved(seen: &Seen<'_>, reserve: &Reserve) -> Result<Vec<InventoryEvent>, Rejection> {
    if seen.reservation.is_some() {
        return Ok(vec![]);
    }
    let Reserve { order_id, amount, .. } = *reserve;
    let lines = summed(&reserve.lines)?;
    let shortages: Vec<Shortage> = lines
        .iter()
        .filter(|line| seen.stock(&line.sku).available() < line.quantity)
        .map(|line| Shortage {
            sku: line.sku.clone(),
            requested: line.quantity,
            available: seen.stock(&line.sku).available(),
        })
        .collect();
    if !shortages.is_empty() {
        return Ok(vec![ReservationEvent::from(StockRejected { order_id, shortages }).into()]);
    }
    let reserved = StockReserved { order_id, lines: lines.clone(), amount };
    with_stocks(seen, reserved, &lines, |line, stock| allocated(order_id, line, stock))
}

fn received(seen: &Seen<'_>, receive: &Receive) -> Result<Vec<InventoryEvent>, Rejection> {
    match seen.existing {
        Some(InventoryEvent::Stock(StockEvent::Received(event))) if event.delta == receive.quantity => {
            return Ok(vec![]);
        }
        Some(_) => return Err(Rejection::ReferenceReused),
        None => {}
    }
    let after = seen.stock(&receive.sku).changed(receive.quantity, 0)?;
    let event = StockReceived {
        sku: receive.sku.clone(),
        delta: receive.quantity,
        on_hand: after.on_hand,
        reserved: after.reserved,
        reason: ReceivedReason::Receipt,
        reference: Some(receive.reference.clone()),
        order_id: None,
    };
    Ok(vec![StockEvent::from(event).into()])
}

fn adjusted(seen: &Seen<'_>, adjust: &Adjust) -> Result<Vec<InventoryEvent>, Rejection> {
    match seen.existing {
        Some(InventoryEvent::Stock(StockEvent::Adjusted(event))) if event.delta == adjust.delta => {
            return Ok(vec![]);
        }
        Some(_) => return Err(Rejection::ReferenceReused),
        None => {}
    }
    let Stock { on_hand, reserved } = seen.stock(&adjust.sku);
    if on_hand.saturating_add(adjust.delta) < reserved {
        return Err(Rejection::InsufficientStock { on_hand, reserved });
    }
    let after = Stock { on_hand, reserved }.changed(adjust.delta, 0)?;
    let event = StockAdjusted {
        sku: adjust.sku.clone(),
        delta: adjust.delta,
        on_hand: after.on_hand,
        reserved: after.reserved,
        reason: adjust.reason.clone(),
        reference: adjust.reference.clone(),
    };
    Ok(vec![StockEvent::from(event).into()])
}

/// The event of a reservation, followed by that of each sku. One that cannot be: none of them.
fn with_stocks(
    seen: &Seen<'_>,
    event: impl Into<ReservationEvent>,
    lines: &[StockLine],
    of_line: impl Fn(&StockLine, Stock) -> Result<StockEvent, Rejection>,
) -> Result<Vec<InventoryEvent>, Rejection> {
    let stocks = lines.iter().map(|line| Ok(InventoryEvent::from(of_line(line, seen.stock(&line.sku))?)));
    std::iter::once(Ok(InventoryEvent::Reservation(event.into()))).chain(stocks).collect()
}

fn allocated(order_id: OrderId, line: &StockLine, before: Stock) -> Result<StockEvent, Rejection> {
    let Stock { on_hand, reserved } = before.changed(0, line.quantity)?;
    Ok(StockAllocated { sku: line.sku.clone(), order_id, delta: line.quantity, on_hand, reserved }.into())
}

fn deallocated(order_id: OrderId, line: &StockLine, before: Stock) -> Result<StockEvent, Rejection> {
    let Stock { on_hand, reserved } = before.changed(0, -line.quantity)?;
    Ok(StockDeallocated { sku: line.sku.clone(), order_id, delta: -line.quantity, on_hand, reserved }.into())
}

fn shipped(order_id: OrderId, line: &StockLine, before: Stock) -> Result<StockEvent, Rejection> {
    let Stock { on_hand, reserved } = before.changed(-line.quantity, -line.quantity)?;
    Ok(StockShipped { sku: line.sku.clone(), order_id, delta: -line.quantity, on_hand, reserved }.into())
}

fn restock(order_id: OrderId, line: &StockLine, before: Stock) -> Result<StockEvent, Rejection> {
    let Stock { on_hand, reserved } = before.changed(line.quantity, 0)?;
    Ok(StockReceived {
        sku: line.sku.clone(),
        delta: line.quantity,
        on_hand,
        reserved,
        reason: ReceivedReason::Restock,
        reference: None,
        order_id: Some(order_id),
    }
    .into())
}

/// One line a sku, in the order of the skus.
fn summed(lines: &[Line]) -> Result<Vec<StockLine>, Rejection> {
    let mut sums: BTreeMap<&Sku, i64> = BTreeMap::new();
    for line in lines {
        let sum = sums.entry(&line.sku).or_default();
        *sum = sum.checked_add(line.quantity).ok_or(Rejection::OverLimit)?;
    }
    Ok(sums.into_iter().map(|(sku, quantity)| StockLine { sku: sku.clone(), quantity }).collect())
}

impl Stock {
    pub fn available(self) -> i64 {
        self.on_hand - self.reserved
    }

    fn changed(self, on_hand_delta: i64, reserved_delta: i64) -> Result<Self, Rejection> {
        let on_hand = self.on_hand.checked_add(on_hand_delta).ok_or(Rejection::OverLimit)?;
        let reserved = self.reserved.checked_add(reserved_delta).ok_or(Rejection::OverLimit)?;
        if on_hand > STOCK_LEVEL_MAX {
            return Err(Rejection::OverLimit);
        }
        if reserved < 0 || on_hand < reserved {
            return Err(Rejection::Levels);
        }
        Ok(Self { on_hand, reserved })
    }
}

impl Seen<'_> {
    fn stock(&self, sku: &Sku) -> Stock {
        self.stocks.get(sku).copied().unwrap_or_default()
    }
}

impl State {
    pub fn reservation(&self) -> Option<&Reservation> {
        match self {
            Self::Reservation(reservation) => Some(reservation),
            Self::None | Self::Stock(_) => None,
        }
    }

    pub fn stock(&self) -> Stock {
        match self {
            Self::Stock(stock) => *stock,
            Self::None | Self::Reservation(_) => Stock::default(),
        }
    }

    /// What a reservation holds or has committed.
    pub fn lines(&self) -> &[StockLine] {
        match self {
            Self::Reservation(Reservation::Reserved { lines } | Reservation::Committed { lines }) => lines,
            _ => &[],
        }
    }

    fn into_lines(self) -> Vec<StockLine> {
        match self {
            Self::Reservation(Reservation::Reserved { lines } | Reservation::Committed { lines }) => lines,
            _ => vec![],
        }
    }
}

impl Command {
    /// The stream that the command is about.
    pub fn stream(&self) -> StreamName {
        match self {
            Self::Reserve(reserve) => StreamName::reservation(reserve.order_id),
            Self::Commit(order_id) | Self::Return(order_id) => StreamName::reservation(*order_id),
            Self::Receive(receive) => StreamName::stock(&receive.sku),
            Self::Adjust(adjust) => StreamName::stock(&adjust.sku),
        }
    }

    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Receive(receive) => Some(&receive.reference),
            Self::Adjust(adjust) => Some(&adjust.reference),
            Self::Reserve(_) | Self::Commit(_) | Self::Return(_) => None,
        }
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let (class, code) = match rejection {
            Rejection::Unknown => (Class::TooEarly, "unknown-order"),
            Rejection::InsufficientStock { .. } => (Class::Refused, "insufficient-stock"),
            Rejection::OverLimit => (Class::Malformed, "limit"),
            Rejection::ReferenceReused => (Class::Malformed, "idempotency-key-reused"),
            Rejection::Contradiction => (Class::Impossible, "contradiction"),
            Rejection::Levels => (Class::Impossible, "levels"),
        };
        Self { class, code, detail: rejection.to_string() }
    }
}

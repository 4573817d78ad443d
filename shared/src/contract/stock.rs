//! Messages about stock: reservations per order (`inventory.events`), levels per sku (`inventory.stock`), and
//! what the edge asks of a sku.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Malformed,
    ids::{OrderId, Sku},
    limits::{LINES_MAX, QUANTITY_MAX, STOCK_LEVEL_MAX, TEXT_CHARS_MAX},
    message::{Payload, messages},
    money::Money,
    order::{check_quantity, check_text},
};

messages! {
    /// What inventory-service tells about an order on `inventory.events`.
    ReservationEvent {
        Reserved(StockReserved) = "fulfil.stock.reserved.v1",
        Rejected(StockRejected) = "fulfil.stock.rejected.v1",
        Committed(StockCommitted) = "fulfil.stock.committed.v1",
        Released(StockReleased) = "fulfil.stock.released.v1",
        Restocked(StockRestocked) = "fulfil.stock.restocked.v1",
    }
}

messages! {
    /// What inventory-service tells about a sku on `inventory.stock`.
    StockEvent {
        Received(StockReceived) = "fulfil.stock.received.v1",
        Adjusted(StockAdjusted) = "fulfil.stock.adjusted.v1",
        Allocated(StockAllocated) = "fulfil.stock.allocated.v1",
        Deallocated(StockDeallocated) = "fulfil.stock.deallocated.v1",
        Shipped(StockShipped) = "fulfil.stock.shipped.v1",
    }
}

messages! {
    /// What the edge asks of inventory-service on `inventory.commands`.
    StockCommand {
        Receive(ReceiveStock) = "fulfil.stock.receive.v1",
        Adjust(AdjustStock) = "fulfil.stock.adjust.v1",
    }
}

/// So many of one sku; each sku stands once in a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StockLine {
    pub sku: Sku,
    #[schemars(range(min = 1))]
    pub quantity: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockReserved {
    pub order_id: OrderId,
    pub lines: Vec<StockLine>,
    /// What is due for the order, so that payment-service need not know orders.
    pub amount: Money,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockRejected {
    pub order_id: OrderId,
    pub shortages: Vec<Shortage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shortage {
    pub sku: Sku,
    pub requested: i64,
    pub available: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockCommitted {
    pub order_id: OrderId,
}

/// The receipt of a cancellation before the goods left. Without lines: nothing was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockReleased {
    pub order_id: OrderId,
    pub lines: Vec<StockLine>,
}

/// The receipt of a cancellation after the goods were committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockRestocked {
    pub order_id: OrderId,
    pub lines: Vec<StockLine>,
}

/// Why stock came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReceivedReason {
    Receipt,
    Restock,
}

/// `delta` went to on hand; the levels are those after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockReceived {
    pub sku: Sku,
    pub delta: i64,
    pub on_hand: i64,
    pub reserved: i64,
    pub reason: ReceivedReason,
    /// Of a receipt: what makes it count once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Of a restock: whose goods came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
}

/// `delta`, of either sign, went to on hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockAdjusted {
    pub sku: Sku,
    pub delta: i64,
    pub on_hand: i64,
    pub reserved: i64,
    pub reason: String,
    pub reference: String,
}

/// `delta` > 0 went to reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockAllocated {
    pub sku: Sku,
    pub order_id: OrderId,
    pub delta: i64,
    pub on_hand: i64,
    pub reserved: i64,
}

/// `delta` < 0 went to reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockDeallocated {
    pub sku: Sku,
    pub order_id: OrderId,
    pub delta: i64,
    pub on_hand: i64,
    pub reserved: i64,
}

/// `delta` < 0 went to on hand and to reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockShipped {
    pub sku: Sku,
    pub order_id: OrderId,
    pub delta: i64,
    pub on_hand: i64,
    pub reserved: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiveStock {
    pub sku: Sku,
    #[schemars(range(min = 1, max = QUANTITY_MAX))]
    pub quantity: i64,
    /// The same reference counts once. Default: the message id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = TEXT_CHARS_MAX))]
    pub reference: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdjustStock {
    pub sku: Sku,
    pub delta: i64,
    #[schemars(length(min = 1, max = TEXT_CHARS_MAX))]
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = TEXT_CHARS_MAX))]
    pub reference: Option<String>,
}

impl Payload for StockReserved {
    fn check(&self) -> Result<(), Malformed> {
        if self.lines.is_empty() || self.lines.len() > LINES_MAX {
            return Err(Malformed::at(
                "limit",
                "/lines",
                format!("a reservation has 1 to {LINES_MAX} lines"),
            ));
        }
        if self.amount.minor < 0 {
            return Err(Malformed::at("limit", "/amount/minor", "an amount is not negative"));
        }
        check_stock_lines(&self.lines)
    }
}

impl Payload for StockReleased {
    fn check(&self) -> Result<(), Malformed> {
        check_stock_lines(&self.lines)
    }
}

impl Payload for StockRestocked {
    fn check(&self) -> Result<(), Malformed> {
        check_stock_lines(&self.lines)
    }
}

impl Payload for StockRejected {}
impl Payload for StockCommitted {}

macro_rules! check_levels {
    ($($payload:ty),+) => {
        $(impl Payload for $payload {
            fn check(&self) -> Result<(), Malformed> {
                if 0 <= self.reserved && self.reserved <= self.on_hand && self.on_hand <= STOCK_LEVEL_MAX {
                    return Ok(());
                }
                Err(Malformed::at("limit", "/on_hand", "levels hold 0 <= reserved <= on_hand <= 2^53"))
            }
        })+
    };
}
check_levels!(StockReceived, StockAdjusted, StockAllocated, StockDeallocated, StockShipped);

impl Payload for ReceiveStock {
    fn check(&self) -> Result<(), Malformed> {
        check_quantity("/quantity", self.quantity)?;
        check_reference(self.reference.as_deref())
    }
}

impl Payload for AdjustStock {
    fn check(&self) -> Result<(), Malformed> {
        if self.delta == 0 || self.delta.unsigned_abs() > QUANTITY_MAX.unsigned_abs() {
            let detail = format!("a delta is -{QUANTITY_MAX} to {QUANTITY_MAX} and not 0");
            return Err(Malformed::at("limit", "/delta", detail));
        }
        if self.reason.trim().is_empty() {
            return Err(Malformed::at("limit", "/reason", "an adjustment has a reason"));
        }
        check_text("/reason", Some(&self.reason))?;
        check_reference(self.reference.as_deref())
    }
}

impl ReservationEvent {
    pub fn order_id(&self) -> OrderId {
        match self {
            Self::Reserved(event) => event.order_id,
            Self::Rejected(event) => event.order_id,
            Self::Committed(event) => event.order_id,
            Self::Released(event) => event.order_id,
            Self::Restocked(event) => event.order_id,
        }
    }
}

impl StockEvent {
    pub fn sku(&self) -> &Sku {
        match self {
            Self::Received(event) => &event.sku,
            Self::Adjusted(event) => &event.sku,
            Self::Allocated(event) => &event.sku,
            Self::Deallocated(event) => &event.sku,
            Self::Shipped(event) => &event.sku,
        }
    }

    /// `(on_hand, reserved)` after the event.
    pub fn levels(&self) -> (i64, i64) {
        match self {
            Self::Received(event) => (event.on_hand, event.reserved),
            Self::Adjusted(event) => (event.on_hand, event.reserved),
            Self::Allocated(event) => (event.on_hand, event.reserved),
            Self::Deallocated(event) => (event.on_hand, event.reserved),
            Self::Shipped(event) => (event.on_hand, event.reserved),
        }
    }

    /// What it adds to `(on_hand, reserved)`.
    pub fn deltas(&self) -> (i64, i64) {
        match self {
            Self::Received(event) => (event.delta, 0),
            Self::Adjusted(event) => (event.delta, 0),
            Self::Allocated(event) => (0, event.delta),
            Self::Deallocated(event) => (0, event.delta),
            Self::Shipped(event) => (event.delta, event.delta),
        }
    }
}

impl StockCommand {
    pub fn sku(&self) -> &Sku {
        match self {
            Self::Receive(command) => &command.sku,
            Self::Adjust(command) => &command.sku,
        }
    }

    /// The check that decoding makes, for a command that was built from an HTTP body.
    pub fn validate(&self) -> Result<(), Malformed> {
        match self {
            Self::Receive(command) => command.check(),
            Self::Adjust(command) => command.check(),
        }
    }
}

fn check_stock_lines(lines: &[StockLine]) -> Result<(), Malformed> {
    // A line here is a sum over the lines of an order, so its limit is that of the whole order.
    let quantity_max = QUANTITY_MAX * LINES_MAX as i64;
    for (index, line) in lines.iter().enumerate() {
        if !(1..=quantity_max).contains(&line.quantity) {
            let pointer = format!("/lines/{index}/quantity");
            return Err(Malformed::at("limit", pointer, format!("a quantity is 1 to {quantity_max}")));
        }
    }
    Ok(())
}

fn check_reference(reference: Option<&str>) -> Result<(), Malformed> {
    if reference.is_some_and(|text| text.trim().is_empty()) {
        return Err(Malformed::at("limit", "/reference", "a reference is not empty"));
    }
    check_text("/reference", reference)
}

//! Messages about orders: what the edge may ask and what order-service tells.

use chrono::Datelike;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Malformed, Timestamp,
    ids::{OrderId, Sku, UserId},
    limits::{LINES_MAX, QUANTITY_MAX, TEXT_CHARS_MAX, UNIT_PRICE_MINOR_MAX},
    message::{Payload, messages},
    money::Money,
};

messages! {
    /// What order-service tells on `orders.events`.
    OrderEvent {
        Created(OrderCreated) = "fulfil.order.created.v2",
        Confirmed(OrderConfirmed) = "fulfil.order.confirmed.v1",
        Progressed(OrderProgressed) = "fulfil.order.progressed.v1",
        Completed(OrderCompleted) = "fulfil.order.completed.v1",
        Cancelled(OrderCancelled) = "fulfil.order.cancelled.v1",
        Settled(OrderSettled) = "fulfil.order.settled.v1",
        CancellationRejected(OrderCancellationRejected) = "fulfil.order.cancellation-rejected.v1",
    }
}

messages! {
    /// What the edge asks of order-service on `orders.commands`.
    OrderCommand {
        Create(CreateOrder) = "fulfil.order.create.v2",
        Cancel(CancelOrder) = "fulfil.order.cancel.v1",
    }
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    pub sku: Sku,
    #[schemars(range(min = 1, max = QUANTITY_MAX))]
    pub quantity: i64,
    #[schemars(range(min = 0, max = UNIT_PRICE_MINOR_MAX))]
    pub unit_price_minor: i64,
}

/// The content of an order. `amount` equals the sum of the lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderCreated {
    pub order_id: OrderId,
    pub user_id: UserId,
    #[schemars(length(min = 1, max = LINES_MAX))]
    pub lines: Vec<Line>,
    pub amount: Money,
    /// When an order that is not confirmed by then is cancelled. Always there in what order-service wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Timestamp>,
    /// Whether the command said the deadline. A repeat is compared with what was said, not with what was filled in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deadline_given: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateOrder {
    pub order_id: OrderId,
    pub user_id: UserId,
    #[schemars(length(min = 1, max = LINES_MAX))]
    pub lines: Vec<Line>,
    pub amount: Money,
    /// Default: 15 minutes after the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelOrder {
    pub order_id: OrderId,
    /// Free text; becomes `note` of the OrderCancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = TEXT_CHARS_MAX))]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Canceller>,
}

/// Who may ask for a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Canceller {
    Customer,
    Operator,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderConfirmed {
    pub order_id: OrderId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderProgressed {
    pub order_id: OrderId,
    pub step: Step,
}

/// One of two: the other is still awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    StockCommitted,
    PaymentCaptured,
    StockReturned,
    PaymentReturned,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderCompleted {
    pub order_id: OrderId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderCancelled {
    pub order_id: OrderId,
    pub reason: CancelReason,
    pub by: CancelledBy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = TEXT_CHARS_MAX))]
    pub note: Option<String>,
    /// How far the order was: a cancelled `confirmed` order has a commit and a capture on their way.
    pub stage: CancelStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    OutOfStock,
    PaymentDeclined,
    Customer,
    Deadline,
    CaptureFailed,
    Operator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelledBy {
    Customer,
    Operator,
    System,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelStage {
    Created,
    Confirmed,
}

/// Both receipts are in: nothing is held and nothing is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderSettled {
    pub order_id: OrderId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderCancellationRejected {
    pub order_id: OrderId,
    pub reason: CancellationRejection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancellationRejection {
    Completed,
}

impl Payload for OrderCreated {
    fn check(&self) -> Result<(), Malformed> {
        check_lines(&self.lines, &self.amount)?;
        check_deadline(self.deadline_at)
    }
}

impl Payload for CreateOrder {
    fn check(&self) -> Result<(), Malformed> {
        check_lines(&self.lines, &self.amount)?;
        check_deadline(self.deadline_at)
    }
}

impl Payload for CancelOrder {
    fn check(&self) -> Result<(), Malformed> {
        check_text("/reason", self.reason.as_deref())
    }
}

impl Payload for OrderCancelled {
    fn check(&self) -> Result<(), Malformed> {
        check_text("/note", self.note.as_deref())
    }
}

impl Payload for OrderConfirmed {}
impl Payload for OrderProgressed {}
impl Payload for OrderCompleted {}
impl Payload for OrderSettled {}
impl Payload for OrderCancellationRejected {}

impl OrderEvent {
    pub fn order_id(&self) -> OrderId {
        match self {
            Self::Created(event) => event.order_id,
            Self::Confirmed(event) => event.order_id,
            Self::Progressed(event) => event.order_id,
            Self::Completed(event) => event.order_id,
            Self::Cancelled(event) => event.order_id,
            Self::Settled(event) => event.order_id,
            Self::CancellationRejected(event) => event.order_id,
        }
    }
}

impl OrderCommand {
    pub fn order_id(&self) -> OrderId {
        match self {
            Self::Create(command) => command.order_id,
            Self::Cancel(command) => command.order_id,
        }
    }
}

impl CreateOrder {
    /// The check that decoding makes, for a command that was built from an HTTP body.
    pub fn validate(&self) -> Result<(), Malformed> {
        self.check()
    }
}

impl CancelOrder {
    /// The check that decoding makes, for a command that was built from an HTTP body.
    pub fn validate(&self) -> Result<(), Malformed> {
        self.check()
    }
}

/// The sum of the lines in minor units; `None` past the range of an amount.
pub fn sum_minor(lines: &[Line]) -> Option<i64> {
    lines
        .iter()
        .try_fold(0_i64, |sum, line| sum.checked_add(line.unit_price_minor.checked_mul(line.quantity)?))
}

fn check_lines(lines: &[Line], amount: &Money) -> Result<(), Malformed> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(Malformed::at("limit", "/lines", format!("an order has 1 to {LINES_MAX} lines")));
    }
    for (index, line) in lines.iter().enumerate() {
        check_quantity(&format!("/lines/{index}/quantity"), line.quantity)?;
        if !(0..=UNIT_PRICE_MINOR_MAX).contains(&line.unit_price_minor) {
            let pointer = format!("/lines/{index}/unit_price_minor");
            return Err(Malformed::at(
                "limit",
                pointer,
                format!("a unit price is 0 to {UNIT_PRICE_MINOR_MAX}"),
            ));
        }
    }
    match sum_minor(lines) {
        Some(sum) if sum == amount.minor => Ok(()),
        Some(_) => {
            Err(Malformed::at("amount-mismatch", "/amount/minor", "the amount is not the sum of the lines"))
        }
        None => Err(Malformed::at("limit", "/lines", "the sum of the lines is out of range")),
    }
}

/// Whether it is soon enough is decided; here it is within what every reader and the database can store.
fn check_deadline(deadline_at: Option<Timestamp>) -> Result<(), Malformed> {
    match deadline_at {
        Some(at) if !(1970..=9999).contains(&at.year()) => {
            Err(Malformed::at("limit", "/deadline_at", "a deadline is in the years 1970 to 9999"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_quantity(pointer: &str, quantity: i64) -> Result<(), Malformed> {
    if (1..=QUANTITY_MAX).contains(&quantity) {
        return Ok(());
    }
    Err(Malformed::at("limit", pointer, format!("a quantity is 1 to {QUANTITY_MAX}")))
}

pub(crate) fn check_text(pointer: &str, text: Option<&str>) -> Result<(), Malformed> {
    match text {
        Some(text) if text.chars().count() > TEXT_CHARS_MAX || text.contains('\0') => Err(Malformed::at(
            "limit",
            pointer,
            format!("a text has at most {TEXT_CHARS_MAX} characters and no NUL"),
        )),
        _ => Ok(()),
    }
}

//! How far orders came, and where they were lost: a fold over rows.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::contract::{ids::OrderId, order::CancelStage};
use utoipa::ToSchema;

use super::{
    order::{OrderRow, Stage, reason_name},
    payment::PaymentStatus,
    stock::Reservation,
};

/// How far an order came, whether it was lost there or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Created,
    Reserved,
    Authorized,
    Confirmed,
    Completed,
}

/// All, in their order.
pub const STEPS: [Step; 5] =
    [Step::Created, Step::Reserved, Step::Authorized, Step::Confirmed, Step::Completed];

/// Each figure counts orders that came at least that far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Funnel {
    pub created: i64,
    pub reserved: i64,
    pub authorized: i64,
    pub confirmed: i64,
    pub completed: i64,
}

/// Orders that were cancelled for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Lost {
    #[schema(example = "payment_declined")]
    pub reason: &'static str,
    pub orders: i64,
    #[schema(value_type = uuid::Uuid)]
    pub newest: OrderId,
}

impl Lost {
    /// By the name of the reason; the newest row comes first.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a OrderRow>) -> Vec<Self> {
        let mut lost: BTreeMap<&'static str, Self> = BTreeMap::new();
        for row in rows {
            let Some(reason) = row.order.state.as_ref().and_then(|order| order.stage.reason()) else {
                continue;
            };
            let reason = reason_name(reason);
            lost.entry(reason).or_insert(Self { reason, orders: 0, newest: row.order_id }).orders += 1;
        }
        lost.into_values().collect()
    }
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Reserved => "reserved",
            Self::Authorized => "authorized",
            Self::Confirmed => "confirmed",
            Self::Completed => "completed",
        }
    }

    /// Of orders that came so far and no further.
    pub fn statuses(self) -> &'static [&'static str] {
        match self {
            Self::Created | Self::Reserved | Self::Authorized => &["created", "cancelled", "settled"],
            Self::Confirmed => &["confirmed", "cancelled", "settled"],
            Self::Completed => &["completed"],
        }
    }

    /// `None` where only the reservation or the payment is known.
    pub fn of(row: &OrderRow) -> Option<Self> {
        let order = row.order.state.as_ref()?;
        let is_confirmed = match &order.stage {
            Stage::Completed { .. } => return Some(Self::Completed),
            Stage::Confirmed { .. } => true,
            Stage::Cancelled { cancellation, .. } | Stage::Settled { cancellation, .. } => {
                cancellation.from == CancelStage::Confirmed
            }
            Stage::Created => false,
        };
        Some(if is_confirmed {
            Self::Confirmed
        } else if row.payment.state.as_ref().is_some_and(|payment| was_authorized(payment.status)) {
            Self::Authorized
        } else if row.reservation.state.as_ref().is_some_and(was_reserved) {
            Self::Reserved
        } else {
            Self::Created
        })
    }
}

impl Funnel {
    /// Rows of which only the reservation or the payment is known are left out.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a OrderRow>) -> Self {
        let mut funnel = Self::default();
        for step in rows.into_iter().filter_map(Step::of) {
            funnel.created += 1;
            funnel.reserved += i64::from(step >= Step::Reserved);
            funnel.authorized += i64::from(step >= Step::Authorized);
            funnel.confirmed += i64::from(step >= Step::Confirmed);
            funnel.completed += i64::from(step == Step::Completed);
        }
        funnel
    }
}

/// A release without lines is of an order that held nothing.
fn was_reserved(reservation: &Reservation) -> bool {
    match reservation {
        Reservation::Reserved { .. } | Reservation::Committed { .. } | Reservation::Restocked { .. } => true,
        Reservation::Released { lines } => !lines.is_empty(),
        Reservation::Rejected { .. } => false,
    }
}

/// As far as the newest state tells: what was abandoned may have been, and is not counted.
fn was_authorized(status: PaymentStatus) -> bool {
    use PaymentStatus::{
        Abandoned, Authorized, CaptureFailed, CaptureRequested, Captured, Declined, Refunded, Requested,
        Reversing, Voided,
    };
    match status {
        Authorized | CaptureRequested | Captured | CaptureFailed | Voided | Refunded => true,
        Requested | Declined | Reversing | Abandoned => false,
    }
}

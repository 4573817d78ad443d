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

impl Funnel {
    /// Rows of which only the reservation or the payment is known are left out.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a OrderRow>) -> Self {
        let mut funnel = Self::default();
        for row in rows {
            let Some(order) = &row.order.state else { continue };
            let is_confirmed = match &order.stage {
                Stage::Confirmed { .. } | Stage::Completed { .. } => true,
                Stage::Cancelled { cancellation, .. } | Stage::Settled { cancellation, .. } => {
                    cancellation.from == CancelStage::Confirmed
                }
                Stage::Created => false,
            };
            let is_authorized = is_confirmed
                || row.payment.state.as_ref().is_some_and(|payment| was_authorized(payment.status));
            let is_reserved = is_authorized || row.reservation.state.as_ref().is_some_and(was_reserved);
            funnel.created += 1;
            funnel.reserved += i64::from(is_reserved);
            funnel.authorized += i64::from(is_authorized);
            funnel.confirmed += i64::from(is_confirmed);
            funnel.completed += i64::from(matches!(order.stage, Stage::Completed { .. }));
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

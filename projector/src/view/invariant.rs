//! What cannot be and is seen while folding: the invariants that a row can show by itself.
//!
//! The sources of a row come over topics in any order, so only what no later event can put right counts: an order
//! that completed while its reservation is not heard of yet says nothing, one whose reservation was rejected does.

use shared::contract::{Malformed, envelope::Raw, topics::Topic};

use super::{
    order::{OrderRow, Stage},
    payment::PaymentStatus,
    stock::Reservation,
};

/// An invariant that a row breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broken {
    /// Not `0 <= reserved <= on_hand`.
    StockBounds,
    /// Levels that the delta of the event does not make from those before it.
    StockSum,
    CompletedAndCancelled,
    /// Completed, and its goods were never to be had or went back.
    CompletedWithoutGoods,
    /// Completed, and its money was refused or went back.
    CompletedWithoutMoney,
}

impl Broken {
    /// Becomes the label `invariant`.
    pub fn name(self) -> &'static str {
        match self {
            Self::StockBounds => "stock-bounds",
            Self::StockSum => "stock-sum",
            Self::CompletedAndCancelled => "completed-and-cancelled",
            Self::CompletedWithoutGoods => "completed-without-goods",
            Self::CompletedWithoutMoney => "completed-without-money",
        }
    }
}

/// What an event breaks that cannot be read: levels outside their bounds are not decoded at all. One that no service
/// of ours wrote is somebody's mistake and breaks nothing.
pub fn of_unread(raw: &Raw, malformed: &Malformed) -> Option<Broken> {
    let is_ours = raw.headers.text("ce_position").is_some();
    let is_levels = raw.topic == Topic::InventoryStock && malformed.pointer == "/data/on_hand";
    (is_ours && is_levels).then_some(Broken::StockBounds)
}

/// What a row breaks as it stands. What events by hand claimed may contradict itself.
pub fn of_order(row: &OrderRow) -> Vec<Broken> {
    let completed =
        row.order.state.as_ref().is_some_and(|order| matches!(order.stage, Stage::Completed { .. }));
    if !completed || row.foreign {
        return Vec::new();
    }
    let without_goods = row.reservation.state.as_ref().is_some_and(Reservation::is_over);
    let without_money = row.payment.state.as_ref().is_some_and(|payment| {
        payment.status.is_returned()
            || matches!(payment.status, PaymentStatus::CaptureFailed | PaymentStatus::Reversing)
    });
    let found =
        [(without_goods, Broken::CompletedWithoutGoods), (without_money, Broken::CompletedWithoutMoney)];
    found.into_iter().filter_map(|(is_broken, broken)| is_broken.then_some(broken)).collect()
}

/// What the step from one stage of an order to the next breaks. The state keeps only the last of two ends.
pub fn of_end(before: &Stage, after: &Stage) -> Option<Broken> {
    let completed = |stage: &Stage| matches!(stage, Stage::Completed { .. });
    let cancelled = |stage: &Stage| matches!(stage, Stage::Cancelled { .. } | Stage::Settled { .. });
    let both = completed(before) && cancelled(after) || cancelled(before) && completed(after);
    both.then_some(Broken::CompletedAndCancelled)
}

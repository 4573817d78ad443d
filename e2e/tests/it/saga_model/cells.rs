//! Which cells of the tables a run went through: every message of every service in every state.

use std::fmt::Write;

use inventory_service::domain::{self as inventory, Reservation};
use order_service::domain as order;
use payment_service::domain::{self as payment, Answer, Stage, record::Said};
use shared::contract::payment::Operation;

const ORDER_ROWS: [&str; 14] = [
    "CreateOrder",
    "OrderCreated, foreign",
    "CancelOrder",
    "StockRejected",
    "PaymentAuthorized",
    "PaymentDeclined",
    "StockCommitted",
    "PaymentCaptured",
    "PaymentCaptureFailed",
    "StockReleased, StockRestocked",
    "PaymentVoided, PaymentRefunded, PaymentAbandoned",
    "deadline task",
    "progress-overdue task",
    "compensation-overdue task",
];
const ORDER_COLUMNS: [&str; 6] = ["none", "created", "confirmed", "completed", "cancelled", "settled"];

const RESERVATION_ROWS: [&str; 3] = ["OrderCreated", "OrderConfirmed", "OrderCancelled"];
const RESERVATION_COLUMNS: [&str; 6] = ["none", "reserved", "committed", "rejected", "released", "restocked"];

const PAYMENT_ROWS: [&str; 11] = [
    "StockReserved",
    "OrderConfirmed",
    "OrderCancelled",
    "authorize: yes",
    "authorize: no",
    "capture: yes",
    "capture: no",
    "void or refund: done",
    "void or refund: refused",
    "silent",
    "the provider's record",
];
const PAYMENT_COLUMNS: [&str; 9] = [
    "none",
    "requested",
    "authorized",
    "capture_requested",
    "captured",
    "capture_failed",
    "declined",
    "reversing",
    "closed",
];

/// How often each cell was hit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cells {
    order: [[u64; ORDER_COLUMNS.len()]; ORDER_ROWS.len()],
    reservation: [[u64; RESERVATION_COLUMNS.len()]; RESERVATION_ROWS.len()],
    payment: [[u64; PAYMENT_COLUMNS.len()]; PAYMENT_ROWS.len()],
}

impl Cells {
    pub(crate) fn order(&mut self, state: &order::Order, command: &order::Command, foreign: bool) {
        use order::Command::*;
        let row = match command {
            Create(_) if foreign => 1,
            Create(_) => 0,
            Cancel(_) => 2,
            StockRejected(_) => 3,
            PaymentAuthorized(_) => 4,
            PaymentDeclined(_) => 5,
            StockCommitted(_) => 6,
            PaymentCaptured(_) => 7,
            PaymentCaptureFailed(_) => 8,
            StockReturned(_) => 9,
            PaymentReturned(_) => 10,
            DeadlineReached(_) => 11,
            ProgressOverdue(_) => 12,
            CompensationOverdue(_) => 13,
        };
        self.order[row][place(&ORDER_COLUMNS, state.name())] += 1;
    }

    pub(crate) fn reservation(&mut self, state: &inventory::State, command: &inventory::Command) {
        let row = match command {
            inventory::Command::Reserve(_) => 0,
            inventory::Command::Commit(_) => 1,
            inventory::Command::Return(_) => 2,
            inventory::Command::Receive(_) | inventory::Command::Adjust(_) => return,
        };
        let column = match state.reservation() {
            None => 0,
            Some(Reservation::Reserved { .. }) => 1,
            Some(Reservation::Committed { .. }) => 2,
            Some(Reservation::Rejected) => 3,
            Some(Reservation::Released) => 4,
            Some(Reservation::Restocked) => 5,
        };
        self.reservation[row][column] += 1;
    }

    pub(crate) fn payment(&mut self, state: &payment::Payment, command: &payment::Command) {
        use payment::Command::*;
        let row = match command {
            RequestPayment { .. } => 0,
            CapturePayment { .. } => 1,
            ReversePayment { .. } => 2,
            TakeAnswer { answer: Answer::Silent, .. } => 9,
            TakeAnswer { operation, answer: Answer::Said(said), .. } => match (operation, said) {
                (Operation::Authorize, Said::Yes) => 3,
                (Operation::Authorize, Said::No { .. }) => 4,
                (Operation::Capture, Said::Yes) => 5,
                (Operation::Capture, Said::No { .. }) => 6,
                (Operation::Void | Operation::Refund, Said::Yes) => 7,
                (Operation::Void | Operation::Refund, Said::No { .. }) => 8,
            },
            TakeRecord { .. } => 10,
            CallProvider { .. }
            | Enquire { .. }
            | AskForRecord { .. }
            | RecordUnanswered { .. }
            | CompareRecord { .. } => {
                return;
            }
        };
        let column = match state.stage {
            Stage::None => 0,
            Stage::Requested { .. } => 1,
            Stage::Authorized => 2,
            Stage::CaptureRequested { .. } => 3,
            Stage::Captured => 4,
            Stage::CaptureFailed => 5,
            Stage::Declined => 6,
            Stage::Reversing { .. } => 7,
            Stage::Closed { .. } => 8,
        };
        self.payment[row][column] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        add(&mut self.order, &other.order);
        add(&mut self.reservation, &other.reservation);
        add(&mut self.payment, &other.payment);
    }

    /// `StockRejected x confirmed`
    pub(crate) fn never(&self) -> Vec<String> {
        let order = zeros(&self.order, &ORDER_ROWS, &ORDER_COLUMNS);
        let reservation = zeros(&self.reservation, &RESERVATION_ROWS, &RESERVATION_COLUMNS);
        let payment = zeros(&self.payment, &PAYMENT_ROWS, &PAYMENT_COLUMNS);
        order.into_iter().chain(reservation).chain(payment).collect()
    }

    pub(crate) fn table(&self) -> String {
        let order = table("order", &self.order, &ORDER_ROWS, &ORDER_COLUMNS);
        let reservation = table("reservation", &self.reservation, &RESERVATION_ROWS, &RESERVATION_COLUMNS);
        order + &reservation + &table("payment", &self.payment, &PAYMENT_ROWS, &PAYMENT_COLUMNS)
    }
}

fn place(columns: &[&str], name: &str) -> usize {
    columns.iter().position(|column| *column == name).expect("a state of the table")
}

fn add<const R: usize, const C: usize>(sums: &mut [[u64; C]; R], more: &[[u64; C]; R]) {
    for (sums, more) in sums.iter_mut().flatten().zip(more.iter().flatten()) {
        *sums += more;
    }
}

fn zeros<const R: usize, const C: usize>(
    hits: &[[u64; C]; R],
    rows: &[&str; R],
    columns: &[&str; C],
) -> Vec<String> {
    let mut zeros = Vec::new();
    for (row, hits) in rows.iter().zip(hits) {
        for (column, hits) in columns.iter().zip(hits) {
            if *hits == 0 {
                zeros.push(format!("{row} x {column}"));
            }
        }
    }
    zeros
}

fn table<const R: usize, const C: usize>(
    name: &str,
    hits: &[[u64; C]; R],
    rows: &[&str; R],
    columns: &[&str; C],
) -> String {
    let mut table = format!("{name:50}");
    for column in columns {
        let _ = write!(table, "{column:>18}");
    }
    for (row, hits) in rows.iter().zip(hits) {
        let _ = write!(table, "\n{row:50}");
        for hits in hits {
            let _ = write!(table, "{hits:>18}");
        }
    }
    table + "\n\n"
}

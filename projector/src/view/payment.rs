//! The payment as the view shows it.

use serde::{Deserialize, Serialize};
use shared::contract::{
    money::Money,
    payment::{Operation, PaymentEvent},
};

/// What payment-service has told about an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub status: PaymentStatus,
    /// What was asked for; none where nothing was, as for an order of amount zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Why it was declined or not captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of a payment that is being reversed: whose answer is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<Operation>,
    /// The provider was silent about this; cleared by the next thing that payment-service tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<Operation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    Requested,
    Authorized,
    Declined,
    CaptureRequested,
    Captured,
    CaptureFailed,
    Reversing,
    Voided,
    Refunded,
    Abandoned,
}

impl PaymentStatus {
    /// Whether nothing is owed and nothing will be taken.
    pub fn is_returned(self) -> bool {
        matches!(self, Self::Declined | Self::Voided | Self::Refunded | Self::Abandoned)
    }
}

pub fn evolve(state: Option<Payment>, event: &PaymentEvent) -> Option<Payment> {
    let before = state.unwrap_or(Payment {
        status: PaymentStatus::Requested,
        amount: None,
        code: None,
        awaits: None,
        silent: None,
    });
    let to = |status| Payment { status, awaits: None, silent: None, ..before.clone() };
    Some(match event {
        PaymentEvent::Requested(requested) => {
            Payment { amount: Some(requested.amount), ..to(PaymentStatus::Requested) }
        }
        PaymentEvent::Authorized(_) => to(PaymentStatus::Authorized),
        PaymentEvent::Declined(declined) => {
            Payment { code: Some(declined.code.clone()), ..to(PaymentStatus::Declined) }
        }
        PaymentEvent::CaptureRequested(_) => to(PaymentStatus::CaptureRequested),
        PaymentEvent::Captured(_) => to(PaymentStatus::Captured),
        PaymentEvent::CaptureFailed(failed) => {
            Payment { code: Some(failed.code.clone()), ..to(PaymentStatus::CaptureFailed) }
        }
        PaymentEvent::ReversalRequested(reversal) => {
            Payment { awaits: Some(reversal.awaits), ..to(PaymentStatus::Reversing) }
        }
        PaymentEvent::Voided(_) => to(PaymentStatus::Voided),
        PaymentEvent::Refunded(_) => to(PaymentStatus::Refunded),
        PaymentEvent::Abandoned(_) => to(PaymentStatus::Abandoned),
        PaymentEvent::OutcomeUnknown(unknown) => Payment { silent: Some(unknown.operation), ..before },
    })
}

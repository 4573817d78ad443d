//! What payment-service tells on `payments.events`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Malformed,
    ids::OrderId,
    message::{Payload, messages},
    money::Money,
    order::check_text,
};

messages! {
    /// What payment-service tells on `payments.events`. A payment is named by its order.
    PaymentEvent {
        Requested(PaymentRequested) = "fulfil.payment.requested.v1",
        Authorized(PaymentAuthorized) = "fulfil.payment.authorized.v1",
        Declined(PaymentDeclined) = "fulfil.payment.declined.v1",
        CaptureRequested(PaymentCaptureRequested) = "fulfil.payment.capture-requested.v1",
        Captured(PaymentCaptured) = "fulfil.payment.captured.v1",
        CaptureFailed(PaymentCaptureFailed) = "fulfil.payment.capture-failed.v1",
        ReversalRequested(PaymentReversalRequested) = "fulfil.payment.reversal-requested.v1",
        Voided(PaymentVoided) = "fulfil.payment.voided.v1",
        Refunded(PaymentRefunded) = "fulfil.payment.refunded.v1",
        Abandoned(PaymentAbandoned) = "fulfil.payment.abandoned.v1",
        OutcomeUnknown(PaymentOutcomeUnknown) = "fulfil.payment.outcome-unknown.v1",
    }
}

/// What is asked of the payment provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Authorize,
    Capture,
    Void,
    Refund,
}

impl Operation {
    pub const ALL: [Self; 4] = [Self::Authorize, Self::Capture, Self::Void, Self::Refund];

    /// As it stands in messages, in task kinds and in the provider's addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentRequested {
    pub order_id: OrderId,
    pub amount: Money,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentDeclined {
    pub order_id: OrderId,
    pub code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCaptureFailed {
    pub order_id: OrderId,
    pub code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentReversalRequested {
    pub order_id: OrderId,
    /// Whose answer is awaited: a call that was under way when the cancellation came, or the undoing itself.
    pub awaits: Operation,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentOutcomeUnknown {
    pub order_id: OrderId,
    pub operation: Operation,
    pub attempt: i32,
}

macro_rules! about_an_order {
    ($($(#[$doc:meta])* $payload:ident),+) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct $payload {
            pub order_id: OrderId,
        }
        impl Payload for $payload {})+
    };
}
about_an_order!(
    /// An order of amount zero is authorized without a call, and without a PaymentRequested before it.
    PaymentAuthorized,
    PaymentCaptureRequested,
    PaymentCaptured,
    PaymentVoided,
    PaymentRefunded,
    /// Nothing was taken and nothing will be.
    PaymentAbandoned
);

impl Payload for PaymentRequested {
    fn check(&self) -> Result<(), Malformed> {
        if self.amount.minor < 0 {
            return Err(Malformed::at("limit", "/amount/minor", "an amount is not negative"));
        }
        Ok(())
    }
}

impl Payload for PaymentDeclined {
    fn check(&self) -> Result<(), Malformed> {
        check_text("/code", Some(&self.code))
    }
}

impl Payload for PaymentCaptureFailed {
    fn check(&self) -> Result<(), Malformed> {
        check_text("/code", Some(&self.code))
    }
}

impl Payload for PaymentReversalRequested {}
impl Payload for PaymentOutcomeUnknown {}

impl PaymentEvent {
    pub fn order_id(&self) -> OrderId {
        match self {
            Self::Requested(event) => event.order_id,
            Self::Authorized(event) => event.order_id,
            Self::Declined(event) => event.order_id,
            Self::CaptureRequested(event) => event.order_id,
            Self::Captured(event) => event.order_id,
            Self::CaptureFailed(event) => event.order_id,
            Self::ReversalRequested(event) => event.order_id,
            Self::Voided(event) => event.order_id,
            Self::Refunded(event) => event.order_id,
            Self::Abandoned(event) => event.order_id,
            Self::OutcomeUnknown(event) => event.order_id,
        }
    }
}

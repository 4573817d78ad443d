//! What the provider says about a payment: one answer, or its whole record. Plain facts, as we hear them.

use serde::{Deserialize, Deserializer, Serialize};
use shared::contract::{ids::OrderId, money::Money, payment::Operation};

/// A final answer to one operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Said {
    Yes,
    /// Of an authorization or a capture: it will not happen. Of a void or a refund: not now.
    No {
        #[serde(deserialize_with = "code")]
        code: String,
    },
}

pub const CODE_CHARS_MAX: usize = 64;

/// A provider's code goes into our events, so it is cut here to what every reader of them takes.
fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.chars().filter(|c| !c.is_control()).take(CODE_CHARS_MAX).collect())
}

/// What the provider has in its books about one payment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    pub payment_id: OrderId,
    /// Of the charge; `None` where it was never asked for one.
    pub amount: Option<Money>,
    /// The final answer to each operation; `None`: never asked, or pending.
    pub authorize: Option<Said>,
    pub capture: Option<Said>,
    pub void: Option<Said>,
    pub refund: Option<Said>,
    /// How many charges were ever made. More than one is a lost idempotency key.
    pub charges: u32,
}

/// The money that the provider holds for a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Held {
    Nothing,
    /// Set aside: a void gives it back.
    Authorized,
    /// Taken: a refund gives it back.
    Captured,
}

impl Record {
    /// The record of a payment that the provider never heard of.
    pub fn nothing(payment_id: OrderId) -> Self {
        Self {
            payment_id,
            amount: None,
            authorize: None,
            capture: None,
            void: None,
            refund: None,
            charges: 0,
        }
    }

    pub fn said(&self, operation: Operation) -> Option<&Said> {
        match operation {
            Operation::Authorize => self.authorize.as_ref(),
            Operation::Capture => self.capture.as_ref(),
            Operation::Void => self.void.as_ref(),
            Operation::Refund => self.refund.as_ref(),
        }
    }

    pub fn shows(&self, operation: Operation) -> bool {
        self.said(operation) == Some(&Said::Yes)
    }

    pub fn held(&self) -> Held {
        if self.shows(Operation::Capture) {
            return if self.shows(Operation::Refund) { Held::Nothing } else { Held::Captured };
        }
        if self.shows(Operation::Authorize) && !self.shows(Operation::Void) {
            return Held::Authorized;
        }
        Held::Nothing
    }
}

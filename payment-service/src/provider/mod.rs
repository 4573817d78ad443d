//! The payment provider, seen from here: it is asked outside any transaction, with a key that makes a repeat
//! harmless, and may answer late, twice, or never. What an answer means is the domain's affair.

pub mod choice;
pub mod http;
pub mod simulated;
pub mod behaviour;
pub mod books;
pub mod ledger;
pub mod server;

use std::pin::Pin;

use shared::{
    contract::{Timestamp, ids::OrderId, money::Money, payment::Operation},
    telemetry::spans,
};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::domain::{
    Answer, Call, Command,
    record::{Record, Said},
};

/// A future of a `dyn` provider: which provider it is, is a setting.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, Silent>> + Send + 'a>>;

pub trait PaymentProvider: Send + Sync + 'static {
    /// Asks for one operation. The same key is answered the same and happens once.
    fn ask(&self, request: Request) -> Answering<'_, Said>;

    /// What the provider has in its books about the payment, also where that is nothing.
    fn record(&self, payment_id: OrderId) -> Answering<'_, Record>;

    /// The records that changed since then, by the provider's clock.
    fn records(&self, since: Timestamp) -> Answering<'_, Vec<Record>>;
}

/// One call. A capture, void or refund is about the whole charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub payment_id: OrderId,
    pub operation: Operation,
    /// With an authorization only.
    pub amount: Option<Money>,
    pub idempotency_key: Uuid,
}

/// There was no final answer: it happened or it did not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Silent {
    pub reason: String,
}

impl Silent {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// As a span says it.
const SILENT: &str = "silent";
/// One silence is the network's everyday; more in a row are news.
const ATTEMPTS_QUIET: i32 = 2;

/// Makes a call and says what it brought. An error is a silence, and a silence is a command like any other.
pub async fn call(provider: &dyn PaymentProvider, call: Call) -> Command {
    match call {
        Call::Operation { order_id, operation, amount, idempotency_key, attempt } => {
            let request = Request { payment_id: order_id, operation, amount, idempotency_key };
            let calling = spans::calling(operation.as_str(), order_id.uuid(), attempt);
            let said = provider.ask(request).await;
            calling.ended(said.is_err().then_some(SILENT));
            let answer = match said {
                Ok(said) => Answer::Said(said),
                Err(silent) => {
                    log_silence(order_id, operation.as_str(), attempt, &silent);
                    Answer::Silent
                }
            };
            Command::TakeAnswer { order_id, operation, attempt, answer }
        }
        Call::Enquire { order_id, attempt, asked_at_version } => {
            let calling = spans::calling("enquire", order_id.uuid(), attempt);
            let recorded = provider.record(order_id).await;
            calling.ended(recorded.is_err().then_some(SILENT));
            match recorded {
                Ok(record) => Command::TakeRecord { record, asked_at_version },
                Err(silent) => {
                    log_silence(order_id, "enquire", attempt, &silent);
                    Command::RecordUnanswered { order_id, attempt }
                }
            }
        }
    }
}

fn log_silence(order_id: OrderId, operation: &str, attempt: i32, silent: &Silent) {
    let error = &silent.reason;
    // All that happens to an order has its id as correlation id.
    if attempt <= ATTEMPTS_QUIET {
        debug!(%order_id, correlation_id = %order_id, operation, attempt, error, "the payment provider gave no answer");
    } else {
        warn!(%order_id, correlation_id = %order_id, operation, attempt, error, "the payment provider still gives no answer");
    }
}

/// The records to reconcile with: each becomes a command that enquires where it differs from what we have.
///
/// # Errors
/// Where the provider does not answer: try again, nothing is lost by it.
pub async fn reconciliation(
    provider: &dyn PaymentProvider,
    since: Timestamp,
) -> Result<Vec<Command>, Silent> {
    let records = provider.records(since).await?;
    Ok(records.into_iter().map(|record| Command::CompareRecord { record }).collect())
}

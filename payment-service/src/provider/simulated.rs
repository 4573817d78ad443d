//! The provider inside this process, its books in memory: for unit tests and benchmarks. Where the server would
//! keep a caller waiting until it gives up, this one gives up at once. It keeps what is under way, what changed after that
//! and the payments that were settled last, and of the others that they were captured: the memory of the service is the
//! service's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DurationRound, TimeDelta, Utc};
use shared::contract::{Timestamp, ids::OrderId};

use super::{
    Answering, PaymentProvider, Request, Silent,
    behaviour::Behaviour,
    books::{Books, Judged, Reply},
};
use crate::domain::record::{Record, Said};

/// Payments.
const KEPT: usize = 10_000;

pub struct SimulatedProvider {
    behaviour: Behaviour,
    books: Mutex<Books>,
}

impl SimulatedProvider {
    pub fn new(behaviour: Behaviour) -> Self {
        Self { behaviour, books: Mutex::default() }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // An entry is applied whole or not at all, so the books are right also after a panic.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply(&self, request: &Request) -> Result<Said, Silent> {
        let mut books = self.books();
        books.recall(request.payment_id, now());
        let judged = books.judge(request, now(), &self.behaviour);
        match judged.map_err(|mistake| Silent::because(mistake.to_string()))? {
            Judged::Repeated(said) => {
                books.repeated(request.payment_id);
                Ok(said)
            }
            Judged::New(entry) => {
                books.apply(&entry);
                books.forget_settled(KEPT);
                match entry.reply {
                    Reply::Said(said) => Ok(said),
                    Reply::Contradicted => Ok(Reply::contradiction()),
                    Reply::Late(_) => Err(Silent::because("the answer came too late")),
                    Reply::Never => Err(Silent::because("no answer")),
                    Reply::Unavailable => Err(Silent::because("unavailable")),
                }
            }
        }
    }
}

impl PaymentProvider for SimulatedProvider {
    fn ask(&self, request: Request) -> Answering<'_, Said> {
        Box::pin(async move {
            if let Some(delay) = self.behaviour.delay() {
                tokio::time::sleep(delay).await;
            }
            self.reply(&request)
        })
    }

    fn record(&self, payment_id: OrderId) -> Answering<'_, Record> {
        Box::pin(async move {
            let mut books = self.books();
            books.recall(payment_id, now());
            Ok(books.record(payment_id))
        })
    }

    fn records(&self, since: Timestamp) -> Answering<'_, Vec<Record>> {
        Box::pin(async move { Ok(self.books().pages(Some(since), 0).map(|(_, page)| page.record).collect()) })
    }
}

/// The provider's own clock, in milliseconds.
pub(super) fn now() -> Timestamp {
    let now = Utc::now();
    now.duration_trunc(TimeDelta::milliseconds(1)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use shared::contract::{
        money::{Currency, Money},
        payment::Operation::{self, Authorize, Capture, Refund},
    };
    use uuid::Uuid;

    use super::*;
    use crate::domain::idempotency_key;

    /// What the orders under way ask meanwhile makes it forget the first, and not that its money was taken.
    #[tokio::test]
    async fn it_keeps_so_many_payments_and_can_give_back_what_it_has_forgotten() {
        let provider = SimulatedProvider::new(Behaviour::default());
        let payment = |number| OrderId::new(Uuid::from_u128(number)).unwrap();
        let ask = async |number, operation: Operation| {
            let idempotency_key = idempotency_key(payment(number), operation);
            let amount = (operation == Authorize).then(|| Money::new(100, Currency::EUR));
            provider.ask(Request { payment_id: payment(number), operation, amount, idempotency_key }).await
        };
        for number in 1..=KEPT as u128 + 1 {
            assert_eq!(ask(number, Authorize).await.unwrap(), Said::Yes);
            assert_eq!(ask(number, Capture).await.unwrap(), Said::Yes);
        }
        assert_eq!(provider.books().pages(None, 0).count(), KEPT);
        assert!(provider.books().page(payment(1)).is_none());
        assert_eq!(ask(1, Refund).await.unwrap(), Said::Yes);
    }
}

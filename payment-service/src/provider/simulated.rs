//! The provider inside this process, its books in memory: for unit tests and benchmarks. Where the server would
//! keep a caller waiting until it gives up, this one gives up at once. It keeps what is under way and the payments that were
//! settled last: the memory of the service is the service's.

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
        Box::pin(async move { Ok(self.books().record(payment_id)) })
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

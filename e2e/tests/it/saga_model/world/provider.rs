//! What the provider is asked, what it answers, and what it says unasked.

use payment_service::{
    domain::{self as payment, Answer, Call, record::Said},
    provider::{
        Request,
        books::{Judged, Reply},
    },
};
use rand::Rng;
use shared::{
    contract::{ids::StreamName, payment::Operation},
    decider::Task,
    testing::memory::told,
};

use super::{Bug, Due, HOUR_MS, PAYMENTS, PROVIDER_TIMEOUT_MS, World, decide::Command};
use crate::saga_model::traffic;

impl World {
    pub(super) fn call(&mut self, call: Call, task: &Task, run: u32) -> Result<(), String> {
        let (order_id, attempt) = match &call {
            Call::Operation { order_id, attempt, .. } | Call::Enquire { order_id, attempt, .. } => {
                (*order_id, *attempt)
            }
        };
        let (operation, said) = match call {
            Call::Enquire { asked_at_version, .. } => {
                let command = if self.rng.random_ratio(1, 20) {
                    self.faults.count("provider silent");
                    payment::Command::RecordUnanswered { order_id, attempt }
                } else {
                    payment::Command::TakeRecord { record: self.books.record(order_id), asked_at_version }
                };
                let task = task.clone();
                self.later(500, Due::Answer { command, task, run });
                return Ok(());
            }
            Call::Operation { operation, amount, idempotency_key, .. } => {
                let idempotency_key =
                    if self.bug == Some(Bug::KeysEachCall) { self.id() } else { idempotency_key };
                let request = Request { payment_id: order_id, operation, amount, idempotency_key };
                (operation, self.judge(&request)?)
            }
        };
        let take = |answer| payment::Command::TakeAnswer { order_id, operation, attempt, answer };
        match said {
            Some(said) => {
                self.later(
                    1_000,
                    Due::Answer { command: take(Answer::Said(said.clone())), task: task.clone(), run },
                );
                if self.rng.random_ratio(1, 20) {
                    self.faults.count("answered again");
                    let command = take(Answer::Said(said.clone()));
                    self.later(HOUR_MS, Due::Answer { command, task: task.clone(), run });
                }
                let charged = matches!(operation, Operation::Authorize | Operation::Capture);
                if charged && said == Said::Yes && self.rng.random_ratio(1, 50) {
                    self.faults.count("answered the opposite");
                    let command = take(Answer::Said(Said::No { code: "try-another".into() }));
                    self.later(HOUR_MS, Due::Answer { command, task: task.clone(), run });
                }
            }
            None => {
                self.faults.count("provider silent");
                let (command, task) = (take(Answer::Silent), task.clone());
                self.at(self.now_ms + PROVIDER_TIMEOUT_MS, Due::Answer { command, task, run });
            }
        }
        Ok(())
    }

    /// What the provider answers in time.
    fn judge(&mut self, request: &Request) -> Result<Option<Said>, String> {
        let entry = match self.books.judge(request, self.now(), &self.behaviour) {
            Ok(Judged::Repeated(said)) => return Ok(Some(said)),
            Ok(Judged::New(entry)) => entry,
            Err(mistake) => return Err(format!("the provider takes no such call: {mistake}")),
        };
        self.books.apply(&entry);
        Ok(match entry.reply {
            Reply::Said(said) => {
                let undoing = !matches!(request.operation, Operation::Authorize | Operation::Capture);
                if undoing && said != Said::Yes {
                    self.faults.count("undoing refused");
                }
                Some(said)
            }
            Reply::Contradicted => {
                self.faults.count("answered the opposite");
                Some(Reply::contradiction())
            }
            Reply::Late(_) => {
                self.faults.count("provider late");
                None
            }
            Reply::Never | Reply::Unavailable => None,
        })
    }

    /// An answer that is awaited is taken, so this is one that is not.
    pub(super) fn unasked(&mut self, number: usize) -> Result<(), String> {
        let order_id = traffic::order_id(number);
        let stream = StreamName::payment(order_id);
        let operation = Operation::ALL[self.rng.random_range(0..4)];
        if self.is_down(PAYMENTS) || self.payments.state(&stream).awaits() == Some(operation) {
            return Ok(());
        }
        self.faults.count("answered unasked");
        let answer = match self.rng.random_range(0..5) {
            0 | 1 => Answer::Said(Said::Yes),
            2 | 3 => Answer::Said(Said::No { code: "no".into() }),
            _ => Answer::Silent,
        };
        let command = if self.rng.random_ratio(1, 8) {
            let (record, asked_at_version) = (self.books.record(order_id), self.payments.version(&stream));
            payment::Command::TakeRecord { record, asked_at_version }
        } else {
            payment::Command::TakeAnswer { order_id, operation, attempt: 1, answer }
        };
        let told = told(self.id(), self.now());
        self.take(Command::Payment(command), Some(&told), None, false).map(drop)
    }

    /// Compares the provider's records with ours, and says how many differ.
    pub(super) fn reconcile(&mut self) -> Result<usize, String> {
        let before = self.queue.len();
        for number in 0..self.order_count {
            let record = self.books.record(traffic::order_id(number));
            let told = told(self.id(), self.now());
            self.take(
                Command::Payment(payment::Command::CompareRecord { record }),
                Some(&told),
                None,
                false,
            )?;
        }
        Ok(self.queue.len() - before)
    }
}

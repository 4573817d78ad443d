//! The payment provider: its books are the product's own simulated ones, and its answers come late, twice or never.

use payment_service::{
    domain::{self as payment, Answer, Call},
    provider::{
        Request,
        behaviour::Behaviour,
        books::{Books, Judged, Reply},
    },
};
use rand::Rng;
use shared::decider::Task;

use super::env::{Due, Env, Happens, Who};

const TIMEOUT_MS: u64 = 10_000;

pub(super) struct Provider {
    pub(super) books: Books,
    behaviour: Behaviour,
}

impl Provider {
    pub(super) fn new(seed: u64) -> Self {
        let behaviour = Behaviour {
            declined_per_mille: 60,
            capture_failed_per_mille: 40,
            undoing_refused_per_mille: 150,
            unavailable_per_mille: 50,
            unanswered_per_mille: 40,
            late_per_mille: 40,
            seed,
            ..Behaviour::default()
        };
        Self { books: Books::default(), behaviour }
    }

    /// A call arrives; its answer goes back to the process that asked.
    pub(super) fn called(
        &mut self,
        env: &mut Env,
        who: Who,
        run: u32,
        call: Call,
        task: Task,
    ) -> Result<(), String> {
        let (command, wait_ms) = match call {
            Call::Enquire { order_id, attempt, .. } if env.unlucky(20) => {
                env.faults.count("provider silent");
                (payment::Command::RecordUnanswered { order_id, attempt }, TIMEOUT_MS)
            }
            Call::Enquire { order_id, asked_at_version, .. } => {
                (payment::Command::TakeRecord { record: self.books.record(order_id), asked_at_version }, 100)
            }
            Call::Operation { order_id, operation, amount, idempotency_key, attempt } => {
                let request = Request { payment_id: order_id, operation, amount, idempotency_key };
                let (answer, wait_ms) = match self.judge(env, &request)? {
                    Some(said) => (Answer::Said(said), env.rng.random_range(0..300)),
                    None => {
                        env.faults.count("provider silent");
                        (Answer::Silent, TIMEOUT_MS)
                    }
                };
                (payment::Command::TakeAnswer { order_id, operation, attempt, answer }, wait_ms)
            }
        };
        env.at(env.now_ms + wait_ms, Due::To { who, run, what: Happens::Provider { command, task } });
        Ok(())
    }

    fn judge(&mut self, env: &Env, request: &Request) -> Result<Option<payment::record::Said>, String> {
        let entry = match self.books.judge(request, env.now(), &self.behaviour) {
            Ok(Judged::Repeated(said)) => return Ok(Some(said)),
            Ok(Judged::New(entry)) => entry,
            Err(mistake) => return Err(format!("the provider takes no such call: {mistake}")),
        };
        self.books.apply(&entry);
        Ok(match entry.reply {
            Reply::Said(said) => Some(said),
            Reply::Contradicted => Some(Reply::contradiction()),
            Reply::Late(_) | Reply::Never | Reply::Unavailable => None,
        })
    }
}

//! A batch that is not appended as it was taken: given back whole, or cut where the database refuses it.

use super::{
    batch::{Batch, Decided},
    machine::Execute,
    prepare::Prepared,
    step::{Input, Outcome, Reply, Step},
};
use crate::{decider::Decider, engine::inbox::Unanswered, failure::Failure};

/// They are decoded again.
const WITHDRAWN_MAX: usize = 50;
const WITHDRAWN_BYTES_MAX: usize = 256 * 1024;

impl<D: Decider> Execute<D> {
    /// Instead of the append that was asked for: gives back a few messages of which nothing is made that anybody waits for
    /// ([`Decider::NOBODY_WAITS_FOR`]), as if they had not come yet. `None`: there is something to append, or somebody waits.
    pub fn withdraw(&mut self) -> Option<Vec<Input<D>>> {
        let batch = self.batch.take_if(|batch| {
            let bytes = batch.items.iter().map(|item| match &item.input {
                Input::Message(raw) => raw.bytes(),
                _ => usize::MAX,
            });
            batch.asked.makes_only(D::NOBODY_WAITS_FOR)
                // Neither refused before nor a part of what was cut.
                && batch.attempts == 1
                && batch.put_back.is_empty()
                && batch.items.len() <= WITHDRAWN_MAX
                && bytes.fold(0, usize::saturating_add) <= WITHDRAWN_BYTES_MAX
        })?;
        Some(batch.items.into_iter().map(|item| item.input).collect())
    }

    /// The log has a version of a stream that the batch would append. Where streams were assumed to be new, all of it is
    /// decided again over what the log says; what else was read holds, since the log has not moved. `None`: nothing was
    /// assumed, so the cache is wrong.
    pub fn known_after_all(&mut self) -> Option<Step<D>> {
        let batch = self.batch.as_mut().filter(|batch| !batch.decided.assumed_new.is_empty())?;
        batch.attempts += 1;
        batch.decided = Decided::default();
        self.expects_new = false;
        Some(self.advance())
    }

    /// The database refused the content of the batch itself. Halved until the one that does it is found: that
    /// one becomes a dead letter, or is answered as failed. `None`: not even its letter is taken. Going on would lose
    /// the message, so the process must end.
    pub fn faulty(&mut self, reason: &str) -> Option<Step<D>> {
        let Some(mut batch) = self.batch.take() else { return Some(Step::Done(Outcome::default())) };
        batch.decided = Decided::default();
        batch.read.forget_rows();
        if !self.cut(&mut batch) {
            let Some(item) = batch.items.first_mut() else { return Some(Step::Done(Outcome::default())) };
            let tried = matches!(&item.prepared, Prepared::Dead { .. });
            match &item.input {
                Input::Message(_) if !tried => {
                    let key = match &item.prepared {
                        Prepared::Command { key, .. } => Some(key.clone()),
                        _ => None,
                    };
                    item.prepared = Prepared::Dead { failure: Failure::failed("store-refused", reason), key };
                }
                Input::Message(_) | Input::Deadly(_) => return None,
                _ => return Some(Step::Done(self.given_up(batch))),
            }
        }
        self.batch = Some(batch);
        Some(self.advance())
    }

    fn given_up(&mut self, batch: Batch<D>) -> Outcome<D> {
        let mut outcome =
            Outcome { put_back: batch.put_back, attempts: batch.attempts, ..Outcome::default() };
        outcome.counted.push("input-given-up");
        for item in batch.items {
            match item.input {
                Input::Asked(asked) => {
                    outcome.replies.push(Reply { to: asked.reply, answer: Err(Unanswered::Failed) })
                }
                Input::Task(task) | Input::Answer { task, .. } => outcome.settled.push(task.id),
                Input::Message(_) | Input::Deadly(_) => {}
            }
        }
        outcome
    }

    /// Halves the batch and forgets what was read for the index of an item.
    pub(super) fn cut(&self, batch: &mut Batch<D>) -> bool {
        let cut = batch.halve();
        let left = batch.items.len();
        batch.read.redrive_prepared.retain(|index, _| *index < left);
        cut
    }
}

//! A batch between two calls to the database: what the unit of work asks for next, and what comes of it after the commit.

use std::sync::Arc;

use shared::{
    execute::{Execute, Fetch, Fetched, Outcome, Step},
    log::Appended,
};

use super::{
    super::{
        database::{Answer, Query},
        env::{Due, Env},
    },
    Doing, Process, Service,
};

/// What was read of a batch's rows so far: three statements.
#[derive(Default)]
pub(super) struct Reading {
    fetch: Fetch,
    fetched: Fetched,
}

impl<D: Service> Process<D> {
    pub(super) fn batch_answered(
        &mut self,
        env: &mut Env,
        query: Query,
        mut reading: Reading,
        answer: Answer,
    ) -> Result<(), String> {
        let Some(execute) = &mut self.execute else { return Ok(()) };
        let step = match (query, answer) {
            (Query::Load(_), Answer::Loaded(loaded)) => execute.loaded(loaded),
            (Query::Append(_), Answer::Appended(appended)) => {
                match appended {
                    Appended::LogMoved { .. } => env.faults.count("append refused: the log moved"),
                    Appended::Fenced => env.faults.count("append refused: fenced"),
                    Appended::DoneBefore { .. } => env.faults.count("append done before"),
                    Appended::Done { .. } => {}
                }
                execute.appended(&appended)
            }
            (Query::Append(_), Answer::VersionTaken(what)) => {
                env.faults.count("stream taken for new");
                execute.known_after_all().ok_or_else(|| format!("the cache is wrong: {what} is taken"))?
            }
            (Query::Tail { .. }, Answer::Tail { events, more: true }) => {
                let after = events.last().map_or(execute.seen(), |last| last.position);
                execute.follow(&events);
                self.ask_for_batch(env, Query::Tail { after }, reading);
                return Ok(());
            }
            (Query::Tail { .. }, Answer::Tail { events, more: false }) => execute.tailed(&events),
            (Query::Letters(_), Answer::Letters(letters)) => {
                reading.fetched.letters = letters;
                let keys = std::mem::take(&mut reading.fetch.held_keys);
                if !keys.is_empty() {
                    self.ask_for_batch(env, Query::KeysHeld(keys), reading);
                    return Ok(());
                }
                execute.fetched(reading.fetched)
            }
            (Query::KeysHeld(keys), Answer::Keys(held)) => {
                reading.fetched.keys = held;
                self.ask_for_batch(env, Query::HeldMessages(keys), reading);
                return Ok(());
            }
            (Query::HeldMessages(_), Answer::Held(rows)) => {
                reading.fetched.held = rows;
                execute.fetched(reading.fetched)
            }
            (query, answer) => return Err(format!("{query:?} is answered {answer:?}")),
        };
        self.step(env, step)
    }

    fn ask_for_batch(&mut self, env: &mut Env, query: Query, reading: Reading) {
        self.send(env, query.clone());
        self.doing = Doing::Batch(query, reading);
    }

    pub(super) fn step(&mut self, env: &mut Env, step: Step<D>) -> Result<(), String> {
        let mut reading = Reading::default();
        let query = match step {
            Step::Load(load) => Query::Load(load),
            Step::Append(append) => {
                if self.gather.may_park()
                    && let Some(inputs) = self.execute.as_mut().and_then(Execute::withdraw)
                {
                    env.faults.count("batch parked");
                    self.gather.park(inputs);
                    self.doing = Doing::Nothing;
                    self.go_on(env);
                    return Ok(());
                }
                Query::Append(Arc::unwrap_or_clone(append))
            }
            Step::Tail { after, .. } => Query::Tail { after },
            Step::Fetch(fetch) => {
                reading.fetch = fetch;
                let letters = std::mem::take(&mut reading.fetch.letters);
                match letters.is_empty() {
                    true => Query::KeysHeld(std::mem::take(&mut reading.fetch.held_keys)),
                    false => Query::Letters(letters),
                }
            }
            Step::Done(outcome) => {
                self.doing = Doing::Nothing;
                return self.hand_out(env, outcome);
            }
        };
        self.ask_for_batch(env, query, reading);
        Ok(())
    }

    /// After the commit, as the engine does it.
    fn hand_out(&mut self, env: &mut Env, mut outcome: Outcome<D>) -> Result<(), String> {
        self.gather.settle(&mut outcome);
        self.relay.committed(outcome.recorded);
        if outcome.letters > 0 {
            self.relay.look();
        }
        for reply in outcome.replies {
            let _ = reply.to.send(reply.answer);
        }
        for (call, task) in outcome.calls {
            let (who, run) = (self.who, self.run);
            env.within(50, Due::Called { who, run, call: D::call(call), task });
        }
        for _ in 0..outcome.duplicates {
            env.faults.count("message read again");
        }
        if outcome.fenced {
            self.consumer.assign_again(env);
        }
        self.relay.wake(env, 5);
        self.go_on(env);
        Ok(())
    }

    fn go_on(&mut self, env: &mut Env) {
        self.wake(env, 2);
        self.consumer.poll_soon(env, 5);
        // What this batch owes may be due soon, and what is parked waits for it.
        self.tick_soon(env, 100);
    }
}

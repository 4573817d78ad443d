//! The shell of the relay over the models: it does what the product's machines say, one call after the other, on a
//! session of its own.

use std::collections::VecDeque;

use rand::Rng;
use shared::{
    contract::envelope::Recorded,
    log::Lane,
    relay::{
        machine::{Entry, Input, Limits, Machine, Output},
        record,
    },
};

use super::{
    Bug,
    broker::{self, Sent},
    database::{Answer, Database, Query},
    env::{Caller, Due, Env, Happens, Line, Who},
};

/// Small, so that every limit is met.
const LIMITS: Limits = Limits {
    in_flight_max: 12,
    in_flight_bytes_max: 30_000,
    pending_max: 16,
    pending_bytes_max: 40_000,
    read_max: 6,
};
const LANES: [Lane; 2] = [Lane::Events, Lane::DeadLetters];

pub(super) struct Relay {
    who: Who,
    run: u32,
    service: &'static str,
    session: Option<u64>,
    leads: bool,
    /// Lanes whose cursor is read before it leads.
    to_lead: Vec<Lane>,
    lanes: [Machine; 2],
    outputs: VecDeque<(Lane, Output)>,
    /// A call is under way; what it is for.
    asking: Option<Asking>,
    producer: Option<usize>,
    building: bool,
    committed: Vec<Recorded>,
    touch_at_ms: u64,
    save_at_ms: u64,
    to_touch: Vec<Lane>,
    looks: bool,
    /// When its next turn comes.
    comes_at_ms: u64,
}

#[derive(Debug, Clone, Copy)]
enum Asking {
    Session,
    Lead,
    Cursor(Lane),
    End(Lane),
    Read(Lane),
    Save(Lane, i64),
}

impl Relay {
    pub(super) fn new(who: Who, run: u32, service: &'static str) -> Self {
        Self {
            who,
            run,
            service,
            session: None,
            leads: false,
            to_lead: Vec::new(),
            lanes: [Machine::new(LIMITS), Machine::new(LIMITS)],
            outputs: VecDeque::new(),
            asking: None,
            producer: None,
            building: false,
            committed: Vec::new(),
            touch_at_ms: 0,
            save_at_ms: 0,
            to_touch: Vec::new(),
            looks: false,
            comes_at_ms: u64::MAX,
        }
    }

    pub(super) fn committed(&mut self, events: Vec<Recorded>) {
        if self.leads {
            self.committed.extend(events);
        }
    }

    pub(super) fn session(&self) -> Option<u64> {
        self.session
    }

    pub(super) fn producer(&self) -> Option<usize> {
        self.producer
    }

    pub(super) fn halted(&self) -> Option<&str> {
        self.lanes.iter().find_map(Machine::halted)
    }

    /// It leads, and everything up to the ends of the lanes is acknowledged and saved.
    pub(super) fn is_done(&self, database: &Database) -> bool {
        let store = &database.store;
        self.leads
            && store.cursor(Lane::Events) == store.end()
            && store.cursor(Lane::DeadLetters) == store.letters_end()
    }

    pub(super) fn wake(&mut self, env: &mut Env, within_ms: u64) {
        let at_ms = env.now_ms + env.rng.random_range(0..=within_ms);
        if at_ms < self.comes_at_ms {
            self.comes_at_ms = at_ms;
            env.at(at_ms, Due::To { who: self.who, run: self.run, what: Happens::RelayTurn });
        }
    }

    fn ask(&mut self, env: &mut Env, asking: Asking, query: Query) {
        self.asking = Some(asking);
        Database::send(env, Caller { who: self.who, run: self.run, line: Line::Relay }, query);
    }

    /// Others may have committed.
    pub(super) fn look(&mut self) {
        self.looks = true;
    }

    /// Takes what happened and does the next thing that there is to do.
    pub(super) fn turn(&mut self, env: &mut Env) {
        if self.comes_at_ms <= env.now_ms {
            self.comes_at_ms = u64::MAX;
        }
        if !env.calm {
            self.wake(env, 1_000);
        }
        if self.asking.is_some() {
            return;
        }
        let Some(session) = self.session else { return self.ask(env, Asking::Session, Query::OpenSession) };
        if let Some(lane) = self.to_lead.pop() {
            return self.ask(env, Asking::Cursor(lane), Query::Cursor { session, lane });
        }
        if !self.leads {
            if self.touch_at_ms <= env.now_ms {
                self.touch_at_ms = env.now_ms + if env.calm { 3_000 } else { 1_000 };
                self.ask(env, Asking::Lead, Query::TryLead { session });
            }
            return;
        }
        self.take_committed(env);
        if std::mem::take(&mut self.looks) {
            self.step_all(env, &Input::Look);
        }
        if self.save_at_ms <= env.now_ms {
            self.save_at_ms = env.now_ms + 100;
            self.step_all(env, &Input::Save);
        }
        if self.touch_at_ms <= env.now_ms {
            self.touch_at_ms = env.now_ms + if env.calm { 3_000 } else { 1_000 };
            self.to_touch = LANES.to_vec();
        }
        while let Some((lane, output)) = self.outputs.pop_front() {
            self.perform(env, session, lane, output);
            if self.asking.is_some() {
                return;
            }
        }
        if let Some(lane) = self.to_touch.pop() {
            self.ask(env, Asking::End(lane), Query::LaneEnd { session, lane });
        }
    }

    fn take_committed(&mut self, env: &mut Env) {
        let committed = std::mem::take(&mut self.committed);
        if committed.is_empty() {
            return;
        }
        let entries = committed.iter().map(|event| record::of_event(self.service, event));
        let input =
            entries.collect::<Result<Vec<Entry>, String>>().map_or_else(Input::CannotGoOn, Input::Committed);
        self.step(env, Lane::Events, input);
    }

    fn perform(&mut self, env: &mut Env, session: u64, lane: Lane, output: Output) {
        match output {
            Output::Read { after, limit } => {
                let query = match lane {
                    Lane::Events => Query::Events { session, after, limit },
                    Lane::DeadLetters => Query::LetterRecords { session, after, limit },
                };
                self.ask(env, Asking::Read(lane), query);
            }
            Output::SaveCursor(to) => {
                self.ask(env, Asking::Save(lane, to), Query::SaveCursor { session, lane, to });
            }
            Output::Publish(entries) => {
                let Some(producer) = self.producer else { return };
                if env.bug == Some(Bug::AcknowledgesWhatItSends) {
                    let positions = entries.iter().map(|entry| entry.position).collect();
                    broker::give(env, producer, lane, entries);
                    return self.step(env, lane, Input::Acked(positions));
                }
                broker::give(env, producer, lane, entries);
            }
            Output::Rebuild => {
                // Both lanes ask for the one producer.
                if self.outputs.iter().all(|(_, output)| *output != Output::Rebuild) {
                    self.discard(env);
                    self.building = true;
                    let what = Happens::ProducerBuilt;
                    env.within(300, Due::To { who: self.who, run: self.run, what });
                }
            }
            Output::Discard => self.discard(env),
            // Told by `halted`.
            Output::Halt(_) => {}
        }
    }

    fn discard(&mut self, env: &mut Env) {
        self.building = false;
        if let Some(producer) = self.producer.take() {
            broker::discard(env, producer);
        }
    }

    pub(super) fn built(&mut self, env: &mut Env) {
        if std::mem::take(&mut self.building) {
            self.producer = Some(env.broker.new_producer(self.who, self.run));
            self.step_all(env, &Input::Rebuilt);
        }
    }

    pub(super) fn acked(&mut self, env: &mut Env, sent: Sent) {
        if self.producer == Some(sent.producer) {
            self.step(env, sent.lane, Input::Acked(vec![sent.position]));
        }
    }

    pub(super) fn producer_failed(&mut self, env: &mut Env, producer: usize) {
        if self.producer == Some(producer) {
            self.step_all(env, &Input::ProducerFailed);
        }
    }

    fn step(&mut self, env: &mut Env, lane: Lane, input: Input) {
        let machine = &mut self.lanes[(lane == Lane::DeadLetters) as usize];
        self.outputs.extend(machine.step(input).into_iter().map(|output| (lane, output)));
        self.wake(env, 2);
    }

    fn step_all(&mut self, env: &mut Env, input: &Input) {
        for lane in LANES {
            self.step(env, lane, input.clone());
        }
    }

    /// The answer to a call, or its connection's end.
    pub(super) fn answered(&mut self, env: &mut Env, answer: Result<Answer, ()>) -> Result<(), String> {
        let Some(asking) = self.asking.take() else { return Ok(()) };
        let Ok(answer) = answer else {
            self.session_lost(env);
            return Ok(());
        };
        match (asking, answer) {
            (Asking::Session, Answer::Session(session)) => self.session = Some(session),
            (Asking::Lead, Answer::Leads(true)) => {
                env.faults.count("relay took the lead");
                self.to_lead = LANES.to_vec();
            }
            (Asking::Lead, Answer::Leads(false)) => return Ok(()),
            (Asking::Cursor(lane), Answer::Number(cursor)) => {
                self.leads = true;
                self.step(env, lane, Input::Led { cursor });
            }
            (Asking::End(lane), Answer::Number(end)) => self.step(env, lane, Input::End(end)),
            (Asking::Read(lane), Answer::Events(events)) => {
                let entries = events.iter().map(|event| record::of_event(self.service, event));
                let input = entries.collect::<Result<_, _>>().map_or_else(Input::CannotGoOn, Input::ReadDone);
                self.step(env, lane, input);
            }
            (Asking::Read(lane), Answer::LetterRecords(rows)) => {
                let entries = rows.iter().map(record::of_letter).collect();
                self.step(env, lane, Input::ReadDone(entries));
            }
            (Asking::Save(lane, to), Answer::Saved(true)) => self.step(env, lane, Input::CursorSaved(to)),
            // Somebody else wrote it.
            (Asking::Save(..), Answer::Saved(false)) => self.session_lost(env),
            (asking, answer) => return Err(format!("{asking:?} is answered {answer:?}")),
        }
        if let Some(reason) = self.halted() {
            return Err(format!("the relay of {} halts: {reason}", self.service));
        }
        self.wake(env, 2);
        Ok(())
    }

    /// As the product's shell: a session that had an error is dropped, and with it the lead.
    fn session_lost(&mut self, env: &mut Env) {
        if self.leads {
            env.faults.count("relay lost the lead");
        }
        self.session = None;
        self.leads = false;
        self.to_lead.clear();
        self.to_touch.clear();
        self.committed.clear();
        self.step_all(env, &Input::LeadLost);
        self.outputs.clear();
        self.discard(env);
        let wait_ms = env.rng.random_range(0..500);
        self.touch_at_ms = 0;
        self.wake(env, 200 + wait_ms);
    }
}

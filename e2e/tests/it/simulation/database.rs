//! Postgres as its callers see it: a call lands some time after it was sent, each statement in a snapshot of its own,
//! and its answer may be lost, or come after the caller has given up; then the call may still land.

use std::collections::HashMap;

use rand::Rng;
use shared::{
    consumer::Place,
    contract::envelope::Recorded,
    log::{
        Append, Appended, DueTasks, HeldRow, KeyHeld, Lane, Load, Loaded, NumberedLetter, OwnedTask,
        StoreError, StoredLetter, StoredPosition,
    },
    testing::store::Store,
};
use uuid::Uuid;

use super::{
    Bug,
    env::{Caller, Due, Env, Happens},
};

/// The server ends a session of a relay that says nothing for so long.
const IDLE_SESSION_MS: u64 = 4_000;
/// A caller gives up what has not been answered for so long.
const GIVEN_UP_MS: u64 = 2_000;
const HELD_MAX: usize = 3;
const TAIL_MAX: usize = 20;

/// One statement.
#[derive(Debug, Clone)]
pub(super) enum Query {
    Last,
    Append(Append),
    Load(Load),
    Letters(Vec<Uuid>),
    KeysHeld(Vec<String>),
    HeldMessages(Vec<String>),
    Tail {
        after: i64,
    },
    Positions(Vec<Place>),
    HeldKeys(Vec<i32>),
    DueTasks(DueTasks),
    /// The rest on the relay's own session. `None`: a new one.
    OpenSession,
    TryLead {
        session: u64,
    },
    Cursor {
        session: u64,
        lane: Lane,
    },
    LaneEnd {
        session: u64,
        lane: Lane,
    },
    Events {
        session: u64,
        after: i64,
        limit: usize,
    },
    LetterRecords {
        session: u64,
        after: i64,
        limit: usize,
    },
    SaveCursor {
        session: u64,
        lane: Lane,
        to: i64,
    },
}

#[derive(Debug)]
pub(super) enum Answer {
    Last(i64, Option<Uuid>),
    Appended(Appended),
    VersionTaken(String),
    Loaded(Loaded),
    Letters(Vec<StoredLetter>),
    Keys(Vec<KeyHeld>),
    Held(Vec<HeldRow>),
    /// `more`: the page was full.
    Tail {
        events: Vec<Recorded>,
        more: bool,
    },
    Positions(Vec<StoredPosition>),
    Tasks(Vec<OwnedTask>),
    Session(u64),
    Leads(bool),
    Number(i64),
    Events(Vec<Recorded>),
    LetterRecords(Vec<NumberedLetter>),
    Saved(bool),
}

#[derive(Default)]
pub(super) struct Database {
    pub(super) store: Store,
    away_until_ms: u64,
    /// When each session of a relay last said something.
    sessions: HashMap<u64, u64>,
    /// Who holds the relay's lock.
    lock: Option<u64>,
    next_session: u64,
}

impl Database {
    /// Sends a call on its way.
    pub(super) fn send(env: &mut Env, from: Caller, query: Query) {
        let Caller { who, run, line } = from;
        let (mut there_ms, back_ms) = (env.delay_ms(), env.delay_ms());
        let is_append = matches!(query, Query::Append(_));
        let trouble = env.trouble;
        if is_append && env.unlucky(20) {
            // Others hold the lock, and commit before it.
            env.faults.count("append waited for the lock");
            there_ms += env.rng.random_range(50..500);
        }
        let lost = |env: &mut Env, after_ms: u64| {
            let at_ms = env.now_ms + after_ms;
            env.at(at_ms, Due::To { who, run, what: Happens::Answered { line, answer: Err(()) } });
        };
        let mut answered = true;
        let mut lands_ms = env.now_ms + there_ms;
        if env.unlucky(trouble) {
            match env.rng.random_range(0..3) {
                0 => {
                    env.faults.count("connection lost before the call");
                    return lost(env, there_ms);
                }
                1 => {
                    if is_append {
                        env.faults.count("answer lost after the commit");
                    }
                    answered = false;
                    lost(env, there_ms + back_ms + 1);
                }
                _ => {
                    if is_append {
                        env.faults.count("call landed after its caller had given it up");
                    }
                    answered = false;
                    lost(env, there_ms);
                    lands_ms += env.rng.random_range(1..4_000);
                }
            }
        } else if there_ms + back_ms > GIVEN_UP_MS {
            if is_append {
                env.faults.count("append answered late");
            }
            answered = false;
            lost(env, GIVEN_UP_MS);
        }
        let back_ms = answered.then_some(back_ms);
        env.at(lands_ms, Due::Lands { from, query: Box::new(query), back_ms });
    }

    /// A call reaches the server. `Err`: something happened that must not.
    pub(super) fn land(&mut self, env: &mut Env, query: Query) -> Result<Result<Answer, ()>, String> {
        if env.now_ms < self.away_until_ms {
            return Ok(Err(()));
        }
        let now_ms = env.now_ms;
        if let Some(session) = session_of(&query) {
            let alive = self.sessions.get(&session).is_some_and(|at_ms| now_ms - at_ms <= IDLE_SESSION_MS);
            if !alive {
                self.end_session(session);
                return Ok(Err(()));
            }
            self.sessions.insert(session, now_ms);
        }
        let store = &mut self.store;
        Ok(Ok(match query {
            Query::Last => Answer::Last(store.end(), store.log.last().map(|event| event.event_id)),
            Query::Append(append) => {
                return self.append(env, append).map(Ok);
            }
            Query::Load(load) => Answer::Loaded(store.load(&load)),
            Query::Letters(ids) => Answer::Letters(store.letters(&ids)),
            Query::KeysHeld(keys) => Answer::Keys(store.keys_held(&keys)),
            Query::HeldMessages(keys) => Answer::Held(store.held_messages(&keys, HELD_MAX)),
            Query::Tail { after } => {
                let events = store.tail(after, TAIL_MAX);
                let more = events.len() == TAIL_MAX;
                Answer::Tail { events, more }
            }
            Query::Positions(places) => Answer::Positions(store.positions(&places)),
            Query::HeldKeys(partitions) => Answer::Keys(store.held_keys(&partitions)),
            Query::DueTasks(asked) => Answer::Tasks(store.due_tasks(&asked)),
            Query::OpenSession => {
                self.next_session += 1;
                self.sessions.insert(self.next_session, now_ms);
                Answer::Session(self.next_session)
            }
            Query::TryLead { session } => Answer::Leads(self.try_lead(session, now_ms)),
            Query::Cursor { lane, .. } => Answer::Number(store.cursor(lane)),
            Query::LaneEnd { lane: Lane::Events, .. } => Answer::Number(store.end()),
            Query::LaneEnd { lane: Lane::DeadLetters, .. } => Answer::Number(store.letters_end()),
            Query::Events { after, limit, .. } => Answer::Events(store.tail(after, limit)),
            Query::LetterRecords { after, limit, .. } => {
                Answer::LetterRecords(store.letters_after(after, limit))
            }
            Query::SaveCursor { lane, to, .. } => Answer::Saved(store.advance_cursor(lane, to)),
        }))
    }

    fn append(&mut self, env: &mut Env, mut append: Append) -> Result<Answer, String> {
        let dies = env.bug == Some(Bug::MovesBeforeItAppends) && env.unlucky(30);
        match env.bug {
            Some(Bug::AppendsWithoutCompare) => {
                append.seen = self.store.end();
                for (event, position) in append.events.iter_mut().zip(append.seen + 1..) {
                    event.position = position;
                }
            }
            Some(Bug::ComparesNoPositions) => {
                for step in &mut append.moves {
                    step.from = self.store.positions.get(&(step.topic, step.partition)).copied();
                }
            }
            Some(Bug::DropsWhatIsHeld) => append.held.clear(),
            // In a transaction of their own, after which the server dies.
            Some(Bug::MovesBeforeItAppends) if dies && !append.events.is_empty() => {
                let moves = Append { seen: append.seen, moves: append.moves, ..Append::default() };
                let appended = self.store.append(&moves, env.now());
                return appended.map(Answer::Appended).map_err(|error| error.to_string());
            }
            _ => {}
        }
        for step in &append.moves {
            let stands = self.store.positions.get(&(step.topic, step.partition)).copied();
            if step.from == stands && stands > Some(step.to) {
                return Err(format!("the position of {} {} goes back: {step:?}", step.topic, step.partition));
            }
        }
        match self.store.append(&append, env.now()) {
            Ok(appended) => Ok(Answer::Appended(appended)),
            Err(StoreError::VersionTaken(what)) => Ok(Answer::VersionTaken(what)),
            Err(StoreError::LogBehind { seen, end }) => {
                Err(format!("a process has seen {seen} and the log ends at {end}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Everything that is connected is cut off, and calls fail for so long.
    pub(super) fn cut_off(&mut self, env: &Env, for_ms: u64) {
        self.away_until_ms = env.now_ms + for_ms;
        self.sessions.clear();
        self.lock = None;
    }

    /// The same as SIGKILL does it: the relay's cursors, which wait for no disk, may go back.
    pub(super) fn kill(&mut self, env: &mut Env, for_ms: u64) {
        self.cut_off(env, for_ms);
        for lane in [Lane::Events, Lane::DeadLetters] {
            let back = env.rng.random_range(0..10);
            self.store.forget_cursor(lane, back);
        }
    }

    pub(super) fn end_session(&mut self, session: u64) {
        self.sessions.remove(&session);
        if self.lock == Some(session) {
            self.lock = None;
        }
    }

    fn try_lead(&mut self, session: u64, now_ms: u64) -> bool {
        let held = self.lock.filter(|holder| {
            self.sessions.get(holder).is_some_and(|at_ms| now_ms - at_ms <= IDLE_SESSION_MS)
        });
        if held.is_none_or(|holder| holder == session) {
            self.lock = Some(session);
        }
        self.lock == Some(session)
    }
}

fn session_of(query: &Query) -> Option<u64> {
    match query {
        Query::TryLead { session }
        | Query::Cursor { session, .. }
        | Query::LaneEnd { session, .. }
        | Query::Events { session, .. }
        | Query::LetterRecords { session, .. }
        | Query::SaveCursor { session, .. } => Some(*session),
        _ => None,
    }
}

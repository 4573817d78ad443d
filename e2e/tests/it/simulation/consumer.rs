//! The consumer thread of a process over the model of Kafka: it fetches what it was assigned, in the order of each
//! partition and in any order among them, and tells the loop through the product's own queues.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
};

use rand::{Rng, seq::IndexedRandom};
use shared::{
    consumer::{
        Change, Place, Position,
        heard::{Teller, Untold},
    },
    contract::topics::Topic,
    decider::Decider,
    engine::timers::Ends,
};
use tokio::sync::oneshot;

use super::{
    Bug,
    env::{Due, Env, Happens, Who},
};

/// Of one poll.
const FETCHED_MAX: usize = 8;

pub(super) struct Consumer {
    who: Who,
    run: u32,
    teller: Teller,
    pub(super) has_joined: bool,
    /// The group went on without it, and it does not know.
    pub(super) is_zombie: bool,
    /// As the group said it last.
    partitions: Vec<i32>,
    assigning: Option<Receiver<Vec<Position>>>,
    revoking: Option<Receiver<()>>,
    next: BTreeMap<Place, i64>,
    polls: bool,
}

impl Consumer {
    pub(super) fn new(who: Who, run: u32, teller: Teller) -> Self {
        Self {
            who,
            run,
            teller,
            has_joined: false,
            is_zombie: false,
            partitions: Vec::new(),
            assigning: None,
            revoking: None,
            next: BTreeMap::new(),
            polls: false,
        }
    }

    fn tell(&self, env: &mut Env, within_ms: u64, what: Happens) {
        env.within(within_ms, Due::To { who: self.who, run: self.run, what });
    }

    pub(super) fn topics<D: Decider>() -> Vec<Topic> {
        let mut topics = D::READS.to_vec();
        topics.extend(D::ADOPTS);
        topics.push(Topic::DeadLettersCommands);
        topics
    }

    /// The group begins anew: nothing is fetched until it has said who gets what.
    pub(super) fn revoke(&mut self, env: &mut Env) {
        let (reply, revoked) = sync_channel(1);
        self.partitions.clear();
        self.next.clear();
        self.assigning = None;
        self.is_zombie = false;
        if self.teller.changes.try_send(Change::Revoked { reply }).is_ok() {
            self.revoking = Some(revoked);
        }
        self.tell(env, 20, Happens::Turn);
    }

    /// Whether the loop has let go.
    pub(super) fn has_revoked(&mut self) -> bool {
        if let Some(revoked) = &self.revoking
            && revoked.try_recv() == Err(TryRecvError::Empty)
        {
            return false;
        }
        self.revoking = None;
        true
    }

    pub(super) fn assign<D: Decider>(&mut self, env: &mut Env, partitions: Vec<i32>) {
        self.partitions = partitions;
        self.next.clear();
        let mut places = Vec::new();
        for topic in Self::topics::<D>() {
            places.extend(self.partitions.iter().map(|partition| (topic, *partition)));
        }
        places.sort_unstable();
        let (reply, assigned) = sync_channel(1);
        if self.teller.changes.try_send(Change::Assigned { places, reply }).is_ok() {
            self.assigning = Some(assigned);
        }
        self.tell(env, 20, Happens::Turn);
        self.poll_soon(env, 50);
    }

    /// The loop was fenced: the same partitions, from the positions that stand now.
    pub(super) fn assign_again(&mut self, env: &mut Env) {
        env.faults.count("partition assigned again");
        self.tell(env, 50, Happens::AssignedAgain);
    }

    /// Those that it has by now, which a rebalance may have taken.
    pub(super) fn partitions(&self) -> Vec<i32> {
        self.partitions.clone()
    }

    pub(super) fn poll_soon(&mut self, env: &mut Env, within_ms: u64) {
        if !std::mem::replace(&mut self.polls, true) {
            self.tell(env, within_ms, Happens::Poll);
        }
    }

    /// Fetches some of what there is. Returns whether it stands at the ends of all its partitions.
    pub(super) fn poll(&mut self, env: &mut Env) -> bool {
        self.polls = false;
        if let Some(assigning) = &self.assigning {
            match assigning.try_recv() {
                Ok(positions) => {
                    // What was under way to the client when it was told to seek comes, too.
                    let back = if env.unlucky(4) { env.rng.random_range(1..=3) } else { 0 };
                    let next = |at: &Position| (at.next.unwrap_or(0) - back).max(0);
                    self.next = positions.iter().map(|at| (at.place, next(at))).collect();
                    self.assigning = None;
                }
                Err(TryRecvError::Empty) => {
                    self.poll_soon(env, 50);
                    return false;
                }
                // Forgotten in the queue behind a newer change.
                Err(TryRecvError::Disconnected) => self.assigning = None,
            }
        }
        if env.now_ms < env.broker.away_until_ms {
            let wait_ms = env.broker.away_until_ms - env.now_ms;
            self.poll_soon(env, wait_ms + 20);
            return false;
        }
        let mut told = false;
        for _ in 0..env.rng.random_range(1..=FETCHED_MAX) {
            let has_more = |(place, next): (&Place, &i64)| {
                let late = env.broker.late_until_ms.get(&(self.who.service, *place));
                let visible = late.is_none_or(|until_ms| *until_ms <= env.now_ms);
                (visible && *next < env.broker.end(*place)).then_some(*place)
            };
            let places: Vec<Place> = self.next.iter().filter_map(has_more).collect();
            let Some(place) = places.choose(&mut env.rng).copied() else { break };
            let Some(next) = self.next.get_mut(&place) else { break };
            let raw = env.broker.partition(place)[*next as usize].raw.clone();
            match self.teller.tell(raw) {
                Ok(()) => *next += 1,
                Err(Untold::Full(_)) => {
                    env.faults.count("queue of the consumer full");
                    break;
                }
                Err(Untold::Gone) => return true,
            }
            told = true;
        }
        let behind = self.next.iter().any(|(place, next)| *next < env.broker.end(*place));
        if told {
            self.tell(env, 5, Happens::Turn);
        }
        if behind {
            self.poll_soon(env, if told { 20 } else { 100 });
        }
        !behind
    }

    /// Where the topics of a partition end, as the broker says it.
    pub(super) fn ends<D: Decider>(&self, env: &mut Env, partition: i32, bug: Option<Bug>) -> Ends {
        let (reply, answer) = oneshot::channel();
        let ends = D::READS.iter().map(|topic| (*topic, env.broker.end((*topic, partition))));
        let known = match bug {
            Some(Bug::IgnoresTheBacklog) => Some(Vec::new()),
            _ if env.now_ms < env.broker.away_until_ms => None,
            _ => Some(ends.collect()),
        };
        let _ = reply.send(known);
        answer
    }
}

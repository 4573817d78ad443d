//! A service with its database and its replicas, and the consumer group that they are.

use rand::Rng;
use shared::{
    consumer::Place,
    contract::ids::OrderId,
    engine::inbox::Asked,
    log::{Appended, HoldKind},
};

use super::{
    broker::{self, PARTITIONS},
    consumer::Consumer,
    database::{Answer, Database, Query},
    env::{Caller, Due, Env, Happens, Line, Who},
    process::{Process, Service, expires},
};

/// The broker lets a member that says nothing go after so long.
pub(super) const SESSION_MS: u64 = 6_000;

pub(super) struct Site<D: Service> {
    service: usize,
    pub(super) decider: D,
    pub(super) database: Database,
    /// `None`: it was killed. With the run of each.
    pub(super) replicas: Vec<(u32, Option<Process<D>>)>,
    generation: u64,
    /// Who takes part in the present generation, and what each was given.
    members: Vec<(usize, Vec<i32>)>,
    is_settled: bool,
}

impl<D: Service> Site<D> {
    pub(super) fn new(env: &mut Env, service: usize, decider: D) -> Self {
        let mut site = Self {
            service,
            decider,
            database: Database::default(),
            replicas: Vec::new(),
            generation: 0,
            members: Vec::new(),
            is_settled: false,
        };
        for replica in 0..env.rng.random_range(1..=3) {
            site.replicas.push((0, None));
            site.start(env, replica);
        }
        site
    }

    fn who(&self, replica: usize) -> Who {
        Who { service: self.service, replica }
    }

    pub(super) fn start(&mut self, env: &mut Env, replica: usize) {
        let (run, process) = (self.replicas[replica].0 + 1, &self.replicas[replica].1);
        if process.is_none() {
            let process = Process::start(env, self.decider.clone(), self.who(replica), run);
            self.replicas[replica] = (run, Some(process));
        }
    }

    /// As SIGKILL does. Its calls and messages that are on their way may still arrive.
    pub(super) fn kill(&mut self, env: &mut Env, replica: usize) {
        let (run, process) = &mut self.replicas[replica];
        let Some(process) = process.take() else { return };
        env.faults.count("killed");
        let (in_a_batch, appending) = process.in_a_batch();
        if in_a_batch {
            env.faults.count("killed in the middle of a batch");
        }
        if appending {
            env.faults.count("killed between commit and answer");
        }
        if let Some(producer) = process.relay.producer() {
            broker::discard(env, producer);
        }
        // The server hears of it at once, or when the session has been idle for too long.
        if let Some(session) = process.relay.session().filter(|_| env.rng.random()) {
            self.database.end_session(session);
        }
        let (run, since_ms) = (*run, env.now_ms);
        let who = self.who(replica);
        env.at(since_ms + SESSION_MS, Due::Expired { who, run });
    }

    pub(super) fn freeze(&mut self, env: &mut Env, replica: usize, for_ms: u64) {
        let who = self.who(replica);
        let (run, Some(process)) = &mut self.replicas[replica] else { return };
        let (run, since_ms) = (*run, env.now_ms);
        process.frozen_until_ms = since_ms + for_ms;
        env.at(since_ms + for_ms, Due::To { who, run, what: Happens::Thawed });
        if for_ms > SESSION_MS {
            env.faults.count("frozen past its session");
            env.at(since_ms + SESSION_MS, Due::Expired { who, run });
        } else {
            env.faults.count("frozen for a moment");
        }
    }

    /// A member that is dead or frozen since then is let go.
    pub(super) fn expired(&mut self, env: &mut Env, replica: usize, run: u32) {
        let is_member = self.members.iter().any(|(member, _)| *member == replica);
        let (present, process) = &mut self.replicas[replica];
        let gone = match process {
            Some(process) if *present == run => {
                let frozen = process.is_frozen(env);
                process.consumer.is_zombie |= frozen;
                frozen
            }
            // Started again, and has its place back.
            Some(process) => !process.consumer.has_joined,
            None => true,
        };
        if gone && is_member {
            self.rebalance(env);
        }
    }

    /// Everybody who can answer gives up all partitions; then they are dealt anew.
    pub(super) fn rebalance(&mut self, env: &mut Env) {
        env.faults.count("rebalance");
        self.generation += 1;
        self.is_settled = false;
        self.members.clear();
        for (replica, (_, process)) in self.replicas.iter_mut().enumerate() {
            let Some(process) = process else { continue };
            if process.consumer.has_joined && !process.consumer.is_zombie && !process.is_frozen(env) {
                process.consumer.revoke(env);
                self.members.push((replica, Vec::new()));
            } else if process.consumer.has_joined {
                process.consumer.is_zombie = true;
            }
        }
        let (service, generation) = (self.service, self.generation);
        env.within(50, Due::Group { service, generation });
    }

    /// Waits until all members have let go; those that have died or been frozen meanwhile are waited for no longer
    /// than their session.
    pub(super) fn group(&mut self, env: &mut Env, generation: u64) {
        if generation != self.generation || self.is_settled {
            return;
        }
        let mut waits = false;
        for (replica, _) in &self.members {
            if let Some(process) = &mut self.replicas[*replica].1 {
                waits |= process.is_frozen(env) || !process.consumer.has_revoked();
            }
        }
        if waits {
            let service = self.service;
            return env.within(100, Due::Group { service, generation });
        }
        self.members.retain(|(replica, _)| self.replicas[*replica].1.is_some());
        let count = self.members.len() as i32;
        for (index, (replica, partitions)) in self.members.iter_mut().enumerate() {
            // `range`, over equal counts: the same partitions of every topic.
            *partitions = (0..PARTITIONS).filter(|partition| partition % count == index as i32).collect();
            let (run, who) = (self.replicas[*replica].0, Who { service: self.service, replica: *replica });
            let what = Happens::Assigned { generation, partitions: partitions.clone() };
            env.within(200, Due::To { who, run, what });
        }
        self.is_settled = true;
    }

    /// A process is ready to join. One that was started again within the session of the one before it has its place.
    fn join(&mut self, env: &mut Env, replica: usize) {
        let Some(process) = &mut self.replicas[replica].1 else { return };
        process.consumer.has_joined = true;
        let place = self.members.iter().find(|(member, _)| *member == replica);
        match place.filter(|_| self.is_settled) {
            Some((_, partitions)) => {
                let what = Happens::Assigned { generation: self.generation, partitions: partitions.clone() };
                process.tell(env, 50, what);
            }
            None => self.rebalance(env),
        }
    }

    /// Something reaches a process.
    pub(super) fn happens(&mut self, env: &mut Env, who: Who, run: u32, what: Happens) -> Result<(), String> {
        let (present, process) = &mut self.replicas[who.replica];
        let Some(process) = process.as_mut().filter(|_| *present == run) else { return Ok(()) };
        if process.is_frozen(env) {
            let until_ms = process.frozen_until_ms;
            env.at(until_ms, Due::To { who, run, what });
            return Ok(());
        }
        match what {
            Happens::Turn => process.turn(env)?,
            Happens::Tick => process.tick(env)?,
            Happens::Answered { line: Line::Engine, answer } => {
                let started = process.has_started();
                process.answered(env, answer)?;
                if !started && process.has_started() {
                    self.join(env, who.replica);
                }
            }
            Happens::Answered { line: Line::Relay, answer } => process.relay.answered(env, answer)?,
            Happens::Retry => process.retry(env),
            Happens::Poll => drop(process.consumer.poll(env)),
            Happens::Assigned { generation, partitions } => {
                if generation == self.generation {
                    process.consumer.assign::<D>(env, partitions);
                }
            }
            Happens::AssignedAgain => {
                let partitions = process.consumer.partitions();
                process.consumer.assign::<D>(env, partitions);
            }
            Happens::Expelled => {
                if process.consumer.is_zombie {
                    process.consumer.revoke(env);
                    self.rebalance(env);
                }
            }
            Happens::RelayTurn => process.relay.turn(env),
            Happens::Acked(sent) => process.relay.acked(env, sent),
            Happens::ProducerFailed { producer } => process.relay.producer_failed(env, producer),
            Happens::ProducerBuilt => process.relay.built(env),
            Happens::Provider { command, task } => {
                process.provider_said(command, task);
                process.turn(env)?;
            }
            Happens::Thawed => {
                if process.consumer.is_zombie {
                    process.tell(env, 2_000, Happens::Expelled);
                }
            }
        }
        Ok(())
    }

    /// A call reaches the database, and its answer goes back.
    pub(super) fn lands(
        &mut self,
        env: &mut Env,
        from: Caller,
        query: Query,
        back_ms: Option<u64>,
    ) -> Result<(), String> {
        let Caller { who, run, line } = from;
        let mut held = false;
        if let Query::Append(append) = &query {
            self.check_deadlines(env, append)?;
            held = append.held.iter().any(|held| held.kind == HoldKind::TooEarly);
            if self.replicas[who.replica].0 != run || self.replicas[who.replica].1.is_none() {
                env.faults.count("call of a dead process landed");
            }
        }
        let told =
            env.tells.then(|| format!("{} {} {} run {run} asks {query:?}", env.now_ms, D::NAME, who.replica));
        let answer = self.database.land(env, query)?;
        if let Some(told) = told {
            println!("{told}\n    {answer:?}");
        }
        if let Ok(Answer::Appended(appended)) = &answer {
            if held && matches!(appended, Appended::Done { .. }) {
                env.faults.count("too early, held");
            }
            self.wake_relays(env);
        }
        if let Some(back_ms) = back_ms {
            env.at(env.now_ms + back_ms, Due::To { who, run, what: Happens::Answered { line, answer } });
        }
        Ok(())
    }

    /// What one replica commits, the relay of another publishes.
    fn wake_relays(&mut self, env: &mut Env) {
        for (_, process) in &mut self.replicas {
            let Some(process) = process else { continue };
            process.relay.look();
            process.relay.wake(env, 50);
        }
    }

    /// No order expires while its answer waits on a topic: everything that was on the partition when the deadline fell
    /// due is processed with this batch at the latest.
    fn check_deadlines(&self, env: &Env, append: &shared::log::Append) -> Result<(), String> {
        for event in expires(append) {
            let Ok(id) = event.stream.key().parse::<uuid::Uuid>() else { continue };
            let Some(order_id) = OrderId::new(id) else { continue };
            let Some(due_ms) = self.deadline_ms(order_id) else { continue };
            let partition = shared::contract::topics::partition_of(event.stream.key().as_bytes(), PARTITIONS);
            for topic in D::READS {
                let place: Place = (*topic, partition);
                let moved = append.moves.iter().find(|step| (step.topic, step.partition) == place);
                let stands = self.database.store.positions.get(&place).copied().unwrap_or_default();
                let next = moved.map_or(stands, |step| step.to);
                let unread = &env.broker.partition(place)[next as usize..];
                if let Some(message) = unread.iter().find(|message| message.at_ms <= due_ms) {
                    return Err(format!(
                        "{} expires, which was due at {due_ms} ms, and {topic} {partition} has a message of {} ms at {}",
                        event.stream, message.at_ms, message.raw.offset
                    ));
                }
            }
        }
        Ok(())
    }

    fn deadline_ms(&self, order_id: OrderId) -> Option<u64> {
        let stream = shared::contract::ids::StreamName::order(order_id);
        let created = self.database.store.stream(&stream, 0);
        let data: serde_json::Value = serde_json::from_str(&created.first()?.data).ok()?;
        let at: shared::contract::Timestamp = data.get("deadline_at")?.as_str()?.parse().ok()?;
        u64::try_from(at.timestamp_millis()).ok()
    }

    /// Somebody at the edge asks this replica. False: nobody is there, or there is no room.
    pub(super) fn ask(&mut self, env: &mut Env, replica: usize, asked: Asked<D>) -> bool {
        let Some(process) = &mut self.replicas[replica].1 else { return false };
        process.wake(env, 5);
        process.has_started() && process.ask(asked)
    }

    /// Keeps the clockwork going where nothing else does: timers, relays, and consumers of what is new.
    pub(super) fn pulse(&mut self, env: &mut Env) {
        for (_, process) in &mut self.replicas {
            let Some(process) = process else { continue };
            process.tick_soon(env, 50);
            process.consumer.poll_soon(env, 50);
            process.relay.wake(env, 50);
        }
    }

    /// Every replica lives and waits, every message is read and every event is published.
    pub(super) fn is_quiet(&self, env: &Env) -> bool {
        let idle = |process: &Process<D>| process.is_idle() && !process.is_frozen(env);
        self.replicas.iter().all(|(_, process)| process.as_ref().is_some_and(idle))
            && self.is_settled
            && self.is_read(env)
            && self
                .replicas
                .iter()
                .flat_map(|(_, process)| process)
                .any(|process| process.relay.is_done(&self.database))
    }

    /// Every position stands at the end of its partition.
    pub(super) fn is_read(&self, env: &Env) -> bool {
        let places =
            Consumer::topics::<D>().into_iter().flat_map(|topic| (0..PARTITIONS).map(move |n| (topic, n)));
        places.into_iter().all(|place| {
            let next = self.database.store.positions.get(&place).copied().unwrap_or_default();
            next == env.broker.end(place)
        })
    }
}

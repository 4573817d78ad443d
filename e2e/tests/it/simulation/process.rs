//! One process of a service: the product's gathering, unit of work and relay, with the loop around them as the engine
//! has it, and the models in place of its servers.

mod batch;

use std::{collections::HashMap, sync::mpsc::SyncSender};

use order_service::domain as order;
use payment_service::domain as payment;
use rand::Rng;
use shared::{
    consumer::{Change, Place, Position, heard},
    decider::{Decider, Task},
    engine::{
        assignment::{give_up, take_over},
        gather::Gather,
        inbox::Asked,
    },
    execute::{Execute, ExecuteSettings},
    log::{Append, Appended, DueTasks, StoredPosition},
};
use tokio::sync::mpsc;

use batch::Reading;

use super::{
    Bug,
    broker::PARTITIONS,
    consumer::Consumer,
    database::{Answer, Database, Query},
    env::{Caller, Due, Env, Happens, Line, Who},
    relay::Relay,
};

/// Small, so that the consumer meets a full queue.
const MESSAGES_MAX: usize = 6;
const ASKED_MAX: usize = 16;
pub(super) const HOLD_LIMIT_S: u64 = 3_600;

/// What the simulation must know of a service beyond its decider.
pub(super) trait Service: Decider + Clone {
    fn call(call: Self::Call) -> payment::Call;
    /// What the provider said, as this service's command.
    fn answer(command: payment::Command) -> Self::Command;
}

impl Service for order_service::Orders {
    fn call(call: Self::Call) -> payment::Call {
        match call {}
    }
    fn answer(_: payment::Command) -> order::Command {
        unreachable!("order-service calls nobody")
    }
}

impl Service for inventory_service::Inventory {
    fn call(call: Self::Call) -> payment::Call {
        match call {}
    }
    fn answer(_: payment::Command) -> Self::Command {
        unreachable!("inventory-service calls nobody")
    }
}

impl Service for payment_service::Payments {
    fn call(call: Self::Call) -> payment::Call {
        call
    }
    fn answer(command: payment::Command) -> payment::Command {
        command
    }
}

pub(super) struct Process<D: Service> {
    pub(super) who: Who,
    pub(super) run: u32,
    decider: D,
    /// `None` until the end of the log was read.
    execute: Option<Execute<D>>,
    pub(super) gather: Gather<D>,
    asked: mpsc::Sender<Asked<D>>,
    answers: mpsc::UnboundedSender<(Task, D::Command)>,
    pub(super) consumer: Consumer,
    pub(super) relay: Relay,
    doing: Doing,
    tick_is_due: bool,
    /// Told to come and not come yet: a turn, a tick.
    coming: [bool; 2],
    pub(super) frozen_until_ms: u64,
}

/// The call that the loop waits for.
enum Doing {
    Nothing,
    Starting,
    Batch(Query, Reading),
    Assigning {
        query: Query,
        places: Vec<Place>,
        stored: Vec<StoredPosition>,
        reply: SyncSender<Vec<Position>>,
    },
    LookingForTasks(DueTasks),
}

impl<D: Service> Process<D> {
    /// Starts: reads the end of the log, then joins its group.
    pub(super) fn start(env: &mut Env, decider: D, who: Who, run: u32) -> Self {
        let (teller, heard) = heard::queues(MESSAGES_MAX);
        let (asked, to_decide) = mpsc::channel(ASKED_MAX);
        let (answers, answered) = mpsc::unbounded_channel();
        let (_, compared) = mpsc::channel(1);
        let mut process = Self {
            who,
            run,
            decider,
            execute: None,
            gather: Gather::new(heard, to_decide, answered, compared),
            asked,
            answers,
            consumer: Consumer::new(who, run, teller),
            relay: Relay::new(who, run, D::NAME),
            doing: Doing::Starting,
            tick_is_due: false,
            coming: [false; 2],
            frozen_until_ms: 0,
        };
        Database::send(env, Caller { who, run, line: Line::Engine }, Query::Last);
        process.relay.wake(env, 5);
        process
    }

    pub(super) fn tell(&self, env: &mut Env, within_ms: u64, what: Happens) {
        env.within(within_ms, Due::To { who: self.who, run: self.run, what });
    }

    pub(super) fn wake(&mut self, env: &mut Env, within_ms: u64) {
        if !std::mem::replace(&mut self.coming[0], true) {
            self.tell(env, within_ms, Happens::Turn);
        }
    }

    pub(super) fn tick_soon(&mut self, env: &mut Env, within_ms: u64) {
        if !std::mem::replace(&mut self.coming[1], true) {
            self.tell(env, within_ms, Happens::Tick);
        }
    }

    pub(super) fn has_started(&self) -> bool {
        self.execute.is_some()
    }

    pub(super) fn is_frozen(&self, env: &Env) -> bool {
        env.now_ms < self.frozen_until_ms
    }

    /// In the middle of a batch; with its append sent.
    pub(super) fn in_a_batch(&self) -> (bool, bool) {
        match &self.doing {
            Doing::Batch(query, _) => (true, matches!(query, Query::Append(_))),
            _ => (false, false),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.doing, Doing::Nothing) && self.gather.timers.in_flight().is_empty()
    }

    pub(super) fn ask(&self, asked: Asked<D>) -> bool {
        self.asked.try_send(asked).is_ok()
    }

    pub(super) fn provider_said(&self, command: payment::Command, task: Task) {
        let _ = self.answers.send((task, D::answer(command)));
    }

    fn send(&self, env: &mut Env, query: Query) {
        Database::send(env, Caller { who: self.who, run: self.run, line: Line::Engine }, query);
    }

    /// The loop looks for something to do.
    pub(super) fn turn(&mut self, env: &mut Env) -> Result<(), String> {
        self.coming[0] = false;
        if self.execute.is_none() || !matches!(self.doing, Doing::Nothing) {
            return Ok(());
        }
        let mut inputs = Vec::new();
        self.gather.take(&mut inputs);
        if !inputs.is_empty() {
            if self.consumer.is_zombie {
                env.faults.count("zombie decided a batch");
            }
            let Some(execute) = &mut self.execute else { return Ok(()) };
            let step = execute.begin(inputs, env.now());
            return self.step(env, step);
        }
        match self.gather.change.take() {
            Some(Change::Assigned { places, reply }) => {
                let query = Query::Positions(places.clone());
                self.send(env, query.clone());
                self.doing = Doing::Assigning { query, places, stored: Vec::new(), reply };
                return Ok(());
            }
            Some(Change::Revoked { reply }) => {
                if let Some(execute) = &mut self.execute {
                    give_up(execute, &mut self.gather);
                }
                let _ = reply.send(());
                self.wake(env, 2);
            }
            _ => {}
        }
        if std::mem::take(&mut self.tick_is_due) {
            self.gather.tick();
            self.look_for_tasks(env);
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, env: &mut Env) -> Result<(), String> {
        self.coming[1] = false;
        self.tick_is_due = true;
        self.turn(env)
    }

    fn look_for_tasks(&mut self, env: &mut Env) {
        let Some(execute) = &self.execute else { return };
        let positions: HashMap<Place, Option<i64>> = execute.positions().collect();
        let mut partitions: Vec<i32> = positions.keys().map(|(_, partition)| *partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        if partitions.is_empty() {
            return;
        }
        let timers = &mut self.gather.timers;
        timers.look(&positions);
        let mut running = timers.in_flight();
        running.sort_unstable();
        let mut waiting = timers.waiting();
        waiting.sort_unstable();
        let asked = DueTasks {
            partitions,
            until: env.now(),
            running,
            waiting,
            kinds_that_wait: D::WAITS_FOR_BACKLOG,
            limit: timers.room() as i64,
        };
        self.send(env, Query::DueTasks(asked.clone()));
        self.doing = Doing::LookingForTasks(asked);
    }

    /// The same call again, after its connection was lost.
    pub(super) fn retry(&mut self, env: &mut Env) {
        let query = match &self.doing {
            Doing::Nothing => return,
            Doing::Starting => Query::Last,
            Doing::Batch(query, _) | Doing::Assigning { query, .. } => query.clone(),
            Doing::LookingForTasks(asked) => Query::DueTasks(asked.clone()),
        };
        self.send(env, query);
    }

    pub(super) fn answered(&mut self, env: &mut Env, answer: Result<Answer, ()>) -> Result<(), String> {
        let Ok(answer) = answer else {
            if env.bug == Some(Bug::TakesSilenceForDone)
                && let Doing::Batch(Query::Append(_), _) = &self.doing
                && let Some(execute) = &mut self.execute
            {
                let step = execute.appended(&Appended::Done { now: env.now() });
                return self.step(env, step);
            }
            self.tell(env, 500, Happens::Retry);
            return Ok(());
        };
        match (std::mem::replace(&mut self.doing, Doing::Nothing), answer) {
            (Doing::Starting, Answer::Last(end, event_id)) => {
                let settings = ExecuteSettings {
                    mode: shared::contract::envelope::Mode::Development,
                    partitions: PARTITIONS,
                    hold_limit: std::time::Duration::from_secs(HOLD_LIMIT_S),
                    cache_streams_max: if env.rng.random() { 8 } else { 1_000 },
                    snapshot_every: 4,
                };
                let decider = std::sync::Arc::new(self.decider.clone());
                self.execute = Some(Execute::new(decider, settings, (end, event_id)));
            }
            (Doing::Assigning { places, reply, .. }, Answer::Positions(stored)) => {
                let mut partitions: Vec<i32> = places.iter().map(|(_, partition)| *partition).collect();
                partitions.sort_unstable();
                partitions.dedup();
                let query = Query::HeldKeys(partitions);
                self.send(env, query.clone());
                self.doing = Doing::Assigning { query, places, stored, reply };
                return Ok(());
            }
            (Doing::Assigning { stored, reply, .. }, Answer::Keys(held)) => {
                if let Some(execute) = &mut self.execute {
                    let positions = take_over(execute, &mut self.gather, &stored, &held, env.now());
                    let _ = reply.send(positions);
                }
                self.tick_is_due = true;
                self.consumer.poll_soon(env, 5);
            }
            (Doing::LookingForTasks(_), Answer::Tasks(due)) => {
                let tasks = due.into_iter().map(|owned| owned.task).collect();
                let (now, bug) = (env.now(), env.bug);
                let mut waits = false;
                let ends = |partition: i32| {
                    waits = true;
                    self.consumer.ends::<D>(env, partition, bug)
                };
                self.gather.timers.offer::<D>(tasks, PARTITIONS, now, ends);
                if waits {
                    env.faults.count("deadline waited for a backlog");
                }
            }
            (Doing::Batch(query, reading), answer) => {
                return self.batch_answered(env, query, reading, answer);
            }
            (_, answer) => return Err(format!("nobody asked for {answer:?}")),
        }
        self.wake(env, 2);
        Ok(())
    }

    pub(super) fn owned(&self) -> Vec<i32> {
        let Some(execute) = &self.execute else { return Vec::new() };
        (0..PARTITIONS).filter(|partition| execute.owns_partition(*partition)).collect()
    }
}

/// An append as the audit looks at it before it lands.
pub(super) fn expires(append: &Append) -> impl Iterator<Item = &shared::contract::envelope::Recorded> {
    append.events.iter().filter(|event| {
        event.event_type.starts_with("fulfil.order.cancelled.") && event.data.contains("\"deadline\"")
    })
}

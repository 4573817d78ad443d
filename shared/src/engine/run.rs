//! The loop: gather, decide, append, hand out.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rand::Rng;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{sleep, sleep_until},
};
use tracing::{debug, error, warn};

use super::{
    begun::Begun,
    clock::Clock,
    gather::{Gather, unanswered},
    serve::Caller,
    store::Store,
};
use crate::{
    consumer::{Consumer, Lag, Next, Operator, Place},
    decider::{Decider, Task},
    execute::{Execute, Fetch, Fetched, Input, Outcome, Step},
    failpoint,
    failure::poison,
    http::Readiness,
    log::{self, DueTasks, StoreError},
    pace::Pace,
    process,
    relay::RelayHandle,
    shutdown::Shutdown,
    telemetry::{
        Metrics,
        metrics::{InvariantLabel, TopicLabel, WhatLabel},
        spans::{self, Began},
    },
};

/// How often due tasks are looked for, and how long what is parked waits. Tasks that this process makes itself are taken at
/// once.
const TICK: Duration = Duration::from_millis(100);
const COMMIT_EVERY: Duration = Duration::from_secs(1);
const TAIL_MAX: i64 = 5_000;
/// Of one key, read at once; more follow in the next batch.
const HELD_MAX: i64 = 1_000;
const CALLS_MAX: usize = 256;
const CROWDED_PAUSE_MS_MAX: u64 = 20;

pub(super) struct Run<D: Decider> {
    pub(super) execute: Execute<D>,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) gather: Gather<D>,
    pub(super) begun: Begun,
    pub(super) consumer: Consumer,
    pub(super) operator: Operator,
    pub(super) lag: Lag,
    pub(super) relay: RelayHandle,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) caller: Caller<D>,
    pub(super) answered: mpsc::UnboundedSender<(Task, D::Command)>,
    pub(super) partitions: i32,
    /// The relay is so far behind that HTTP takes nothing but cancels.
    pub(super) overloaded: Arc<AtomicBool>,
    pub(super) relay_backlog_max: i64,
}

impl<D: Decider> Run<D> {
    /// Runs until it is asked to stop, or cannot go on.
    pub(super) async fn run(&mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let calls = Arc::new(Semaphore::new(CALLS_MAX));
        let mut ticked = tokio::time::Instant::now();
        let mut committed = Instant::now();
        let mut offsets: HashMap<Place, i64> = HashMap::new();
        let mut pace = Pace::default();
        while !shutdown.is_requested() {
            let mut inputs = Vec::new();
            self.gather.take(&mut inputs);
            if inputs.is_empty() && self.gather.change.is_none() {
                let braked = self.gather.brake.on(Instant::now());
                let mut more = true;
                // Receiving can be cancelled without losing anything; nothing here touches the database.
                tokio::select! {
                    Some((task, command)) = self.gather.answers.recv() => inputs.push(self.gather.timers.answer(task, command)),
                    Some(command) = self.gather.compared.recv() => inputs.push(unanswered(command)),
                    Some(asked) = self.gather.asked.recv() => inputs.push(Input::Asked(asked)),
                    next = self.gather.heard.next(!braked) => match next {
                        Some(Next::Message(raw)) => more = self.gather.hear(raw, &mut inputs),
                        Some(Next::Change(change)) => self.gather.change = Some(change),
                        None => bail!("the consumer thread is gone"),
                    },
                    () = sleep_until(ticked + TICK) => {}
                    () = shutdown.requested() => break,
                }
                // A message that is taken alone stays alone.
                if more {
                    self.gather.take(&mut inputs);
                }
            }
            // Whoever asked waits, and so does the order whose task or answer it is: the next step of what was just committed.
            let are_messages = inputs.iter().all(|input| matches!(input, Input::Message(_)));
            if are_messages && self.gather.may_wait() && pace.is_early(inputs.len()) {
                tokio::select! {
                    () = sleep_until(pace.rested().into()) => {}
                    Some((task, command)) = self.gather.answers.recv() => inputs.push(self.gather.timers.answer(task, command)),
                    () = shutdown.requested() => {}
                }
                self.gather.take(&mut inputs);
            }
            if !inputs.is_empty() {
                let (taken, began) = (inputs.len(), Instant::now());
                self.take_care(&mut inputs).await?;
                let moved = self.batch(inputs, &calls).await?;
                pace.worked(taken, began);
                offsets.extend(moved);
            }
            self.hold_back();
            if let Some(change) = self.gather.change.take() {
                self.change(change).await?;
            }
            if committed.elapsed() > COMMIT_EVERY && !offsets.is_empty() {
                self.consumer.commit(offsets.drain().collect());
                committed = Instant::now();
            }
            // Also under load, when the loop never waits.
            if ticked.elapsed() >= TICK {
                self.look_for_tasks().await?;
                self.watch();
                self.listen().await?;
                self.gather.tick();
                ticked = tokio::time::Instant::now();
            }
        }
        // So that the next run begins where this one ends.
        self.gather.tick();
        let mut parked = Vec::new();
        self.gather.take_parked(&mut parked);
        if !parked.is_empty() {
            offsets.extend(self.batch(parked, &calls).await?);
        }
        if !offsets.is_empty() {
            self.consumer.commit(offsets.into_iter().collect());
        }
        Ok(())
    }

    /// One batch through the unit of work. Returns the offsets that moved.
    async fn batch(
        &mut self,
        inputs: Vec<Input<D>>,
        calls: &Arc<Semaphore>,
    ) -> anyhow::Result<Vec<(Place, i64)>> {
        let (begun, began) = (Instant::now(), Began::now());
        let taken = inputs.len();
        let consumed = count_topics(&inputs);
        let path = path(&inputs);
        let now = self.clock.now();
        failpoint::pass(path, "taken");
        let mut step = self.execute.begin(inputs, now);
        failpoint::pass(path, "decoded");
        let mut outcome = loop {
            step = match step {
                Step::Done(outcome) => break outcome,
                Step::Fetch(fetch) => {
                    let fetched =
                        self.store.run(async |connection| fetch_rows(connection, &fetch).await).await?;
                    self.execute.fetched(fetched)
                }
                Step::Load(load) => {
                    let read = async |connection: &mut sqlx::PgConnection| {
                        let loaded = log::load(connection, &load).await?;
                        failpoint::fallible(path, "loaded").map(|()| loaded)
                    };
                    let loaded = self.store.run(read).await?;
                    self.execute.loaded(loaded)
                }
                Step::Append(append) => {
                    if self.gather.may_park()
                        && let Some(inputs) = self.execute.withdraw()
                    {
                        self.gather.park(inputs);
                        return Ok(Vec::new());
                    }
                    let path = if append.letters.is_empty() { path } else { "letter" };
                    failpoint::pass(path, "decided");
                    let write = async |connection: &mut sqlx::PgConnection| {
                        failpoint::fallible(path, "appending")?;
                        let appended = log::append(connection, &append).await?;
                        if let log::Appended::DoneBefore { .. } = appended {
                            // The call before may have ended while it waited for the standby.
                            log::confirm(connection).await?;
                        }
                        failpoint::fallible(path, "appended").map(|()| appended)
                    };
                    let answer = self.store.run(write).await;
                    drop(append);
                    match answer {
                        Ok(appended) => {
                            if let log::Appended::Done { now } | log::Appended::DoneBefore { now } = appended
                            {
                                self.clock.set(now);
                            } else {
                                failpoint::pass(path, "refused");
                            }
                            self.execute.appended(&appended)
                        }
                        Err(error) if error.is_of_a_message() => {
                            error!(%error, "the database refused the content of a batch; looking for the message");
                            self.execute.forget();
                            match self.execute.faulty(&error.to_string()) {
                                Some(step) => step,
                                None => {
                                    return Err(error).context("a message that cannot even be dead-lettered");
                                }
                            }
                        }
                        Err(error @ StoreError::VersionTaken(_)) => {
                            debug!(%error, "a stream that was taken for new is known");
                            self.execute.known_after_all().ok_or(error).context("appending")?
                        }
                        Err(error) => return Err(error).context("appending"),
                    }
                }
                Step::Tail { after, crowded } => {
                    if crowded {
                        let pause_ms = rand::rng().random_range(0..CROWDED_PAUSE_MS_MAX);
                        sleep(Duration::from_millis(pause_ms)).await;
                    }
                    self.tail(after).await?
                }
            }
        };
        failpoint::pass(path, "committed");
        debug!(
            taken,
            messages = outcome.messages,
            events = outcome.recorded.len(),
            attempts = outcome.attempts,
            position = self.execute.seen(),
            elapsed_ms = begun.elapsed().as_millis() as u64,
            "batch"
        );
        self.metrics.batch_size.observe(taken as f64);
        self.metrics.batch_seconds.observe(begun.elapsed().as_secs_f64());
        for (topic, count) in consumed {
            self.metrics.consumed.get_or_create(&TopicLabel::of(topic)).inc_by(count);
            let per_message = begun.elapsed().as_secs_f64();
            self.metrics.process_seconds.get_or_create(&TopicLabel::of(topic)).observe(per_message);
        }
        let processed = std::mem::take(&mut outcome.processed);
        let moved = self.hand_out(outcome, calls);
        failpoint::pass(path, "handed-out");
        processed.tell(D::NAME, began);
        Ok(moved)
    }

    /// Folds what others appended, page by page: whoever was idle for hours has much to read.
    async fn tail(&mut self, mut after: i64) -> anyhow::Result<Step<D>> {
        loop {
            let read =
                async |connection: &mut sqlx::PgConnection| log::tail(connection, after, TAIL_MAX).await;
            let page = self.store.run(read).await?;
            match page.last() {
                Some(last) if page.len() as i64 == TAIL_MAX => {
                    after = last.position;
                    self.execute.follow(&page);
                }
                _ => return Ok(self.execute.tailed(&page)),
            }
        }
    }

    /// After the commit: answers, events for the relay, calls, counts.
    fn hand_out(&mut self, mut outcome: Outcome<D>, calls: &Arc<Semaphore>) -> Vec<(Place, i64)> {
        self.gather.settle(&mut outcome);
        for event in &outcome.recorded {
            self.metrics.event_bytes.observe(event.data.len() as f64);
        }
        if !outcome.recorded.is_empty() {
            self.relay.committed(outcome.recorded);
        }
        if outcome.letters > 0 {
            self.relay.wake_letters();
        }
        for reply in outcome.replies {
            // Whoever asked may be gone; it was decided all the same.
            let _ = reply.to.send(reply.answer);
        }
        for (call, task) in outcome.calls {
            let (caller, answered, calls) = (self.caller.clone(), self.answered.clone(), calls.clone());
            tokio::spawn(async move {
                // Closed never: the semaphore lives as long as the loop.
                let _permit = calls.acquire_owned().await;
                let command = spans::caused_by(D::NAME, &task, caller(call)).await;
                failpoint::pass("task", "answered");
                let _ = answered.send((task, command));
            });
        }
        self.metrics.duplicates.inc_by(outcome.duplicates as u64);
        self.metrics.redecided_batches.inc_by(u64::from(outcome.attempts.saturating_sub(1)));
        for name in outcome.counted {
            match name {
                "impossible-message" => {
                    self.metrics
                        .invariant_violations
                        .get_or_create(&InvariantLabel { invariant: name })
                        .inc();
                }
                what => drop(self.metrics.counted.get_or_create(&WhatLabel { what }).inc()),
            }
        }
        poison::tell(D::NAME, &outcome.poison, &self.metrics);
        let poison = outcome.poison.len().min(outcome.messages);
        if self.gather.brake.count(outcome.messages - poison, poison, Instant::now()) {
            error!("over half of the last messages were poison: it may be us; the group pauses");
        }
        if outcome.fenced {
            warn!("another replica went on with a partition of ours; reading the positions again");
            self.metrics.fenced_batches.inc();
            self.consumer.reassign();
        }
        outcome.moved
    }

    async fn look_for_tasks(&mut self) -> anyhow::Result<()> {
        let positions: HashMap<Place, Option<i64>> = self.execute.positions().collect();
        let mut owned: Vec<i32> = positions.keys().map(|(_, partition)| *partition).collect();
        owned.sort_unstable();
        owned.dedup();
        if owned.is_empty() {
            return Ok(());
        }
        let (now, timers) = (self.clock.now(), &mut self.gather.timers);
        timers.look(&positions);
        let asked = DueTasks {
            partitions: owned,
            until: now,
            running: timers.in_flight(),
            waiting: timers.waiting(),
            kinds_that_wait: D::WAITS_FOR_BACKLOG,
            limit: timers.room() as i64,
        };
        if asked.limit == 0 {
            return Ok(());
        }
        let read = async |connection: &mut sqlx::PgConnection| log::due_tasks(connection, &asked).await;
        let due = self.store.run(read).await?;
        if !due.is_empty() {
            failpoint::pass("task", "selected");
        }
        let tasks = due.into_iter().map(|owned| owned.task).collect();
        let ends = |partition| self.consumer.ends(partition, D::READS.to_vec());
        self.gather.timers.offer::<D>(tasks, self.partitions, now, ends);
        Ok(())
    }

    fn hold_back(&mut self) {
        let is_enough = self.begun.is_enough(self.execute.going_on(), Instant::now());
        if !D::BEGINS.is_empty() && self.consumer.hold_back(is_enough) {
            self.metrics.counted.get_or_create(&WhatLabel { what: "held_back" }).inc();
        }
    }

    fn watch(&mut self) {
        let now_ms = self.clock.now().timestamp_millis();
        let _ = self.lag.show(self.execute.positions(), &self.consumer.last_ends(), now_ms, &self.metrics);
        let backlog = self.relay.backlog();
        self.overloaded.store(backlog > self.relay_backlog_max, Ordering::Relaxed);
        process::watch_relay(&self.readiness, self.relay.state());
        self.metrics.held_keys.set(self.execute.held_keys() as i64);
    }
}

/// How a batch came in, for the failpoints: whose answer, call or offset waits for it.
fn path<D: Decider>(inputs: &[Input<D>]) -> &'static str {
    let is_task = |input: &Input<D>| matches!(input, Input::Task(_) | Input::Answer { .. });
    match inputs {
        inputs if inputs.iter().any(|input| matches!(input, Input::Asked(_))) => "http",
        inputs if inputs.iter().any(is_task) => "task",
        _ => "message",
    }
}

fn count_topics<D: Decider>(inputs: &[Input<D>]) -> HashMap<crate::contract::topics::Topic, u64> {
    let mut counts = HashMap::new();
    for input in inputs {
        if let Input::Message(raw) = input {
            *counts.entry(raw.topic).or_default() += 1;
        }
    }
    counts
}

async fn fetch_rows(connection: &mut sqlx::PgConnection, fetch: &Fetch) -> Result<Fetched, StoreError> {
    let mut fetched = Fetched::default();
    if !fetch.letters.is_empty() {
        fetched.letters = log::letters(connection, &fetch.letters).await?;
    }
    if !fetch.held_keys.is_empty() {
        fetched.keys = log::keys_held(connection, &fetch.held_keys).await?;
        fetched.held = log::held_messages(connection, &fetch.held_keys, HELD_MAX).await?;
    }
    Ok(fetched)
}

//! The loop around the machines: takes what happened, does what they say. Decides nothing itself.
//!
//! Everything of a relay happens on this one task, one thing after the other. The client library's thread only
//! writes down delivery reports and wakes it; nothing crosses a call to the database.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use super::{
    RelaySettings,
    handle::{Inside, RelayHandle, State},
    machine::{Input, Limits, Machine, Output},
    publishing::{Publishing, Trouble},
    record,
    session::{Session, SessionError},
};
use crate::{
    contract::Timestamp,
    failpoint,
    log::{Lane, StoreError},
    telemetry::{
        Metrics,
        metrics::{TopicLabel, WhatLabel},
    },
};

/// How long what another replica committed can go unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// The same while no other replica has a partition, or there are no events to look for.
const LOOK_INTERVAL_ALONE: Duration = Duration::from_millis(250);
/// The same for dead letters, which nobody waits for.
const LOOK_AT_LETTERS_INTERVAL: Duration = Duration::from_secs(1);
/// How much is published twice after a crash, in time.
const SAVE_INTERVAL: Duration = Duration::from_millis(100);
/// Well below the session's idle timeout of four seconds.
const TOUCH_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_DELAY: Duration = Duration::from_millis(200);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(2);

/// A thousand messages and 256 KiB are what the client library makes one request of, at most.
const EVENT_LIMITS: Limits = Limits {
    in_flight_max: 4_000,
    in_flight_bytes_max: 16 * 1024 * 1024,
    pending_max: 20_000,
    pending_bytes_max: 32 * 1024 * 1024,
    read_max: 500,
};

/// A letter can have more than a megabyte.
const LETTER_LIMITS: Limits = Limits { in_flight_max: 200, read_max: 20, ..EVENT_LIMITS };

pub(super) struct Shell {
    settings: RelaySettings,
    metrics: Metrics,
    inside: Arc<Inside>,
    lanes: Vec<(Lane, Machine)>,
    publishing: Publishing,
    outputs: VecDeque<(Lane, Output)>,
    next: Timers,
    is_stopping: bool,
    /// The database holds what cannot be.
    has_given_up: bool,
}

struct Timers {
    look: Instant,
    letters: Instant,
    save: Instant,
    touch: Instant,
}

impl Shell {
    pub(super) fn new(settings: RelaySettings, metrics: Metrics, handle: &RelayHandle) -> Self {
        let inside = Arc::clone(&handle.inside);
        let mut lanes = vec![(Lane::DeadLetters, Machine::new(LETTER_LIMITS))];
        if !settings.topics.is_empty() {
            lanes.insert(0, (Lane::Events, Machine::new(EVENT_LIMITS)));
        }
        let publishing = Publishing::new(settings.broker.clone(), &settings.topics, Arc::clone(&inside.work));
        let now = Instant::now();
        let next = Timers { look: now, letters: now, save: now, touch: now };
        Self {
            settings,
            metrics,
            inside,
            lanes,
            publishing,
            outputs: VecDeque::new(),
            next,
            is_stopping: false,
            has_given_up: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut delay = RETRY_DELAY;
        while !self.is_over() {
            match self.session().await {
                Ok(()) => delay = RETRY_DELAY,
                Err(error) => {
                    self.lead_lost();
                    if is_final(&error) {
                        error!(%error, "the relay stops publishing");
                        halted(&self.inside, &self.metrics, error.to_string());
                        self.has_given_up = true;
                        continue;
                    }
                    warn!(%error, "the relay lost its database session and opens another");
                    self.inside.set_state(State::Waiting { reason: error.to_string() });
                    sleep(delay).await;
                    delay = (delay * 2).min(RETRY_DELAY_MAX);
                }
            }
        }
        self.publishing.discard();
    }

    /// One session: follow until the lock is ours, lead until it is over. An error ends the session.
    async fn session(&mut self) -> Result<(), SessionError> {
        let mut session = Session::open(&self.settings.database_url, &self.settings.service).await?;
        while !session.try_lead().await? {
            self.inside.set_state(State::Following);
            let lane = self.lanes[0].0;
            let (waiting, since) = session.waiting(lane).await?;
            self.count_backlog(waiting, since);
            self.wait(Instant::now() + TOUCH_INTERVAL).await;
            if self.inside.stop_at().is_some() {
                // Whoever leads looks at what is left.
                self.is_stopping = true;
                return Ok(());
            }
        }
        info!("this relay publishes");
        self.inside.set_leads(true);
        for index in 0..self.lanes.len() {
            let lane = self.lanes[index].0;
            let cursor = session.cursor(lane).await?;
            self.step(lane, Input::Led { cursor });
        }
        loop {
            self.turn(&mut session).await?;
            if self.is_over() {
                break;
            }
            self.wait(self.next.earliest()).await;
        }
        self.lead_lost();
        session.close().await;
        Ok(())
    }

    /// Takes all that happened, then does all that there is to do.
    async fn turn(&mut self, session: &mut Session) -> Result<(), SessionError> {
        if self.inside.stop_at().is_some() && !std::mem::replace(&mut self.is_stopping, true) {
            // What was committed last may not have been told.
            self.next.touch = Instant::now();
        }
        self.take_committed();
        self.take_reports();
        self.take_timers(session).await?;
        while let Some((lane, output)) = self.outputs.pop_front() {
            self.perform(lane, output, session).await?;
        }
        if let Some(trouble) = self.publishing.pump() {
            self.trouble(trouble);
        }
        if let Some(backlog) = self.lanes[0].1.backlog() {
            self.count_backlog(backlog, self.lanes[0].1.oldest());
        }
        self.tell_state();
        Ok(())
    }

    fn take_committed(&mut self) {
        let committed = self.inside.take_committed();
        let mut entries = Vec::with_capacity(committed.events.len());
        for event in &committed.events {
            match record::of_event(&self.settings.service, event) {
                Ok(entry) => entries.push(entry),
                Err(reason) => return self.step(Lane::Events, Input::CannotGoOn(reason)),
            }
        }
        if !entries.is_empty() {
            // Until then this process tells of what it commits, and of a hole in it by what comes after.
            self.next.look = Instant::now() + self.look_interval();
            self.step(Lane::Events, Input::Committed(entries));
        }
        if let Some(end) = committed.dropped {
            self.step(Lane::Events, Input::End(end));
        }
        if self.inside.take_letters() {
            self.step(Lane::DeadLetters, Input::Look);
        }
    }

    fn look_interval(&self) -> Duration {
        let is_alone = self.inside.is_alone() || self.settings.topics.is_empty();
        if is_alone { LOOK_INTERVAL_ALONE } else { LOOK_INTERVAL }
    }

    fn take_reports(&mut self) {
        let taken = self.publishing.take();
        if !taken.acked.is_empty() {
            failpoint::pass("relay", "acked");
        }
        for (topic, count) in &taken.sent {
            self.metrics.sent.get_or_create(&TopicLabel::of(*topic)).inc_by(*count);
        }
        for lane in [Lane::Events, Lane::DeadLetters] {
            let acked: Vec<_> =
                taken.acked.iter().filter(|(of, _)| *of == lane).map(|(_, position)| *position).collect();
            if !acked.is_empty() {
                self.step(lane, Input::Acked(acked));
            }
        }
        if let Some(trouble) = taken.trouble {
            self.trouble(trouble);
        }
        if taken.is_ready {
            self.step_all(&Input::Rebuilt);
        }
    }

    async fn take_timers(&mut self, session: &mut Session) -> Result<(), SessionError> {
        let now = Instant::now();
        let look_interval = self.look_interval();
        if due(&mut self.next.look, look_interval, now) {
            self.step(Lane::Events, Input::Look);
        }
        if due(&mut self.next.letters, LOOK_AT_LETTERS_INTERVAL, now) {
            self.step(Lane::DeadLetters, Input::Look);
        }
        if due(&mut self.next.save, SAVE_INTERVAL, now) {
            self.step_all(&Input::Save);
        }
        if due(&mut self.next.touch, TOUCH_INTERVAL, now) {
            for index in 0..self.lanes.len() {
                let lane = self.lanes[index].0;
                let end = session.end(lane).await?;
                if index == 0 && self.lanes[index].1.halted().is_some() {
                    // It goes on growing, and HTTP and people must hear of it.
                    let (waiting, since) = session.waiting(lane).await?;
                    self.count_backlog(waiting, since);
                }
                self.step(lane, Input::End(end));
            }
        }
        Ok(())
    }

    async fn perform(
        &mut self,
        lane: Lane,
        output: Output,
        session: &mut Session,
    ) -> Result<(), SessionError> {
        match output {
            Output::Read { after, limit } => {
                let entries = match lane {
                    Lane::Events => {
                        let events = session.events(after, limit).await?;
                        events.iter().map(|event| record::of_event(&self.settings.service, event)).collect()
                    }
                    Lane::DeadLetters => {
                        Ok(session.letters(after, limit).await?.iter().map(record::of_letter).collect())
                    }
                };
                failpoint::fallible("relay", "read")?;
                self.step(lane, entries.map_or_else(Input::CannotGoOn, Input::ReadDone));
            }
            Output::SaveCursor(cursor) => {
                failpoint::fallible("relay", "saving")?;
                session.save_cursor(lane, cursor).await?;
                failpoint::fallible("relay", "saved")?;
                debug!(?lane, cursor, "the relay's cursor moved");
                self.step(lane, Input::CursorSaved(cursor));
            }
            Output::Publish(entries) => self.publishing.publish(lane, entries),
            Output::Rebuild => self.publishing.rebuild(),
            Output::Discard => self.publishing.discard(),
            Output::Halt(reason) => {
                error!(?lane, reason, "the relay stops publishing: going on would lose or reorder something");
                self.publishing.forget(lane);
                halted(&self.inside, &self.metrics, reason);
            }
        }
        Ok(())
    }

    fn trouble(&mut self, trouble: Trouble) {
        let what = match trouble {
            Trouble::Producer(_) => "relay_delivery_failed",
            Trouble::Message(..) | Trouble::Topic(..) => "relay_lane_halted",
        };
        self.metrics.counted.get_or_create(&WhatLabel { what }).inc();
        match trouble {
            Trouble::Producer(reason) => {
                warn!(reason, "a message was not delivered: the relay makes a new producer and starts again");
                self.step_all(&Input::ProducerFailed);
            }
            Trouble::Message(lane, reason) => {
                self.step(lane, Input::CannotGoOn(reason));
                self.step_all(&Input::ProducerFailed);
            }
            Trouble::Topic(lane, reason) => self.step(lane, Input::CannotGoOn(reason)),
        }
    }

    fn step(&mut self, lane: Lane, input: Input) {
        if let Some((_, machine)) = self.lanes.iter_mut().find(|(of, _)| *of == lane) {
            self.outputs.extend(machine.step(input).into_iter().map(|output| (lane, output)));
        }
    }

    fn step_all(&mut self, input: &Input) {
        for index in 0..self.lanes.len() {
            self.step(self.lanes[index].0, input.clone());
        }
    }

    fn lead_lost(&mut self) {
        self.inside.set_leads(false);
        self.outputs.clear();
        self.step_all(&Input::LeadLost);
        self.outputs.clear();
        self.publishing.discard();
        know_no_backlog(&self.metrics);
    }

    fn count_backlog(&self, backlog: i64, since: Option<Timestamp>) {
        self.inside.set_backlog(backlog);
        self.metrics.relay_backlog.set(backlog);
        let oldest =
            since.map_or(0, |recorded_at| (chrono::Utc::now() - recorded_at).num_milliseconds().max(0));
        self.metrics.relay_oldest_seconds.set(oldest as f64 / 1_000.0);
    }

    fn tell_state(&self) {
        self.inside.set_state(match self.publishing.waits_for() {
            Some(reason) => State::Waiting { reason: reason.to_owned() },
            None => State::Publishing,
        });
    }

    async fn wait(&self, until: Instant) {
        let _ = timeout_at(until, self.inside.work.notified()).await;
    }

    /// Asked to stop, and done or out of time; or no lane is left that could go on, so another replica may try.
    fn is_over(&self) -> bool {
        if self.has_given_up || self.lanes.iter().all(|(_, machine)| machine.halted().is_some()) {
            return true;
        }
        // Not before the last look: the stop may have been asked for since this turn began.
        let idle = || self.is_stopping && self.lanes.iter().all(|(_, machine)| machine.is_idle());
        self.inside.stop_at().is_some_and(|stop_at| Instant::now() >= stop_at || idle())
    }
}

/// Until the process is started anew, also where nothing of the relay is left to tell of it.
pub(super) fn halted(inside: &Inside, metrics: &Metrics, reason: String) {
    inside.set_state(State::Halted { reason });
    metrics.relay_halted.set(1);
}

/// Who neither leads nor looks on does not know what waits: an old number would be an alert about what another replica has
/// long published. HTTP goes on by the last one.
pub(super) fn know_no_backlog(metrics: &Metrics) {
    metrics.relay_backlog.set(0);
    metrics.relay_oldest_seconds.set(0.0);
}

impl Timers {
    fn earliest(&self) -> Instant {
        self.look.min(self.letters).min(self.save).min(self.touch)
    }
}

fn due(next: &mut Instant, interval: Duration, now: Instant) -> bool {
    let due = *next <= now;
    if due {
        *next = now + interval;
    }
    due
}

/// Waiting does not help.
fn is_final(error: &SessionError) -> bool {
    matches!(error, SessionError::Store(StoreError::Corrupt(_)))
}

//! A projection that follows the topics into the second view: what it takes and learns, and what it does where it must
//! stand at a certain place.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::bail;
use shared::{consumer::Place, contract::topics::Topic, log, shutdown::Shutdown};
use sqlx::{Connection, PgConnection};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use super::{Letters, reader::Heard};
use crate::{
    project::{Projection, batch::Taken, projection::Halt},
    read_model::{
        compare::{self, Doubt, Ends},
        schema::{SECOND, SERVED},
        second,
    },
};

/// How long one wait for messages takes, at most.
const WAIT: Duration = Duration::from_millis(250);
const POLL: Duration = Duration::from_millis(50);
/// How long the served view stands still, at most, until the second one is level with it.
const CHANGE_MAX: Duration = Duration::from_secs(3);
/// How long one view waits for the other.
const LEVEL_MAX: Duration = Duration::from_secs(5);
const LETTERS_AT_ONCE: i64 = 100;

pub(super) struct Following<'a> {
    pub(super) projection: Projection,
    pub(super) heard: mpsc::Receiver<Heard>,
    /// What was decided about what died.
    pub(super) decided: Arc<RwLock<Letters>>,
    pub(super) wake_relay: &'a (dyn Fn() + Sync),
}

impl Following<'_> {
    /// Takes messages, and what goes on without one.
    pub(super) async fn take(&mut self, messages: Vec<Taken>) -> anyhow::Result<()> {
        if unhalted(self.projection.follow(messages).await)? > 0 {
            (self.wake_relay)();
        }
        Ok(())
    }

    /// The same where more is known to come: the last of it may be on its way still.
    pub(super) async fn fill(&mut self, messages: Vec<Taken>) -> anyhow::Result<()> {
        if unhalted(self.projection.fill(messages).await)? > 0 {
            (self.wake_relay)();
        }
        Ok(())
    }

    /// There are no more messages before these places.
    pub(super) async fn reached(&mut self, next: &[(Place, i64)]) -> anyhow::Result<()> {
        unhalted(self.projection.reached(next).await)
    }

    /// Reads what became of dead letters since the last time.
    pub(super) async fn learn(&mut self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let keys = learn(connection, &self.decided).await?;
        self.projection.decided(keys);
        Ok(())
    }

    /// The served view stands still while the second one takes what is missing, and then they change places. False where
    /// that took too long: nothing has changed then.
    pub(super) async fn change_places(&mut self, control: &mut PgConnection) -> anyhow::Result<bool> {
        let mut transaction = control.begin().await?;
        match second::hold_served(&mut transaction).await {
            Err(error) if error.is_infrastructure() => return Ok(false),
            held => held?,
        }
        let until = Instant::now() + CHANGE_MAX;
        while !second::is_level(&mut transaction).await? {
            if Instant::now() > until {
                return Ok(false);
            }
            let messages = self.some().await?;
            self.learn(&mut transaction).await?;
            self.take(messages).await?;
        }
        second::change_places(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Looks again at what is in doubt, with both views at the same places: this one waits until the other has passed it, and
    /// then goes to where that one was at some moment and no further. Where they do not get there in time all stays in doubt,
    /// and it is tried again.
    pub(super) async fn settle(
        &mut self,
        control: &mut PgConnection,
        served: &mut PgConnection,
        comparison: Uuid,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let doubts = compare::doubts(control, comparison).await?;
        let mut ours = compare::ends(control, SECOND).await?;
        // What is gone from that topic the second view passes over, and the served one may never have seen.
        ours.retain(|(topic, _), _| *topic != Topic::DeadLetters);
        let until = Instant::now() + LEVEL_MAX;
        while !is_past(&compare::ends(served, SERVED).await?, &ours) {
            if Instant::now() > until || shutdown.is_requested() {
                return Ok(());
            }
            sleep(POLL).await;
        }
        let mut served = compare::one_moment(served).await?;
        let theirs = compare::ends(&mut served, SERVED).await?;
        let before = compare::said(&mut served, SERVED, &doubts).await?;
        let mut beyond = Vec::new();
        let until = Instant::now() + LEVEL_MAX;
        let mut is_level = false;
        while !is_level && Instant::now() < until && !shutdown.is_requested() {
            is_level = is_past(&compare::ends(control, SECOND).await?, &theirs);
            if !is_level {
                let is_before = |taken: &Taken| {
                    let raw = &taken.raw;
                    theirs.get(&(raw.topic, raw.partition)).is_some_and(|next| raw.offset < *next)
                };
                let (messages, rest): (Vec<Taken>, Vec<Taken>) =
                    self.some().await?.into_iter().partition(is_before);
                beyond.extend(rest);
                self.learn(control).await?;
                self.take(messages).await?;
            }
        }
        if is_level {
            let mut second = compare::one_moment(control).await?;
            let after = compare::said(&mut second, SECOND, &doubts).await?;
            second.commit().await?;
            let different: Vec<Doubt> =
                doubts.into_iter().filter(|doubt| before.get(doubt) != after.get(doubt)).collect();
            compare::settle(control, &mut served, comparison, &different).await?;
        }
        self.take(beyond).await
    }

    /// What was heard; nothing where nothing was for a moment.
    async fn some(&mut self) -> anyhow::Result<Vec<Taken>> {
        match timeout(WAIT, self.heard.recv()).await {
            Ok(Some(Heard::Messages(messages))) => Ok(messages),
            Ok(Some(Heard::AtTheEnds(_))) | Err(_) => Ok(Vec::new()),
            Ok(Some(Heard::Away(why) | Heard::Failed(why))) => bail!(why),
            Ok(None) => bail!("the thread that reads is gone"),
        }
    }
}

/// Whether a view that stands at `now` has all that is before `ends`.
fn is_past(now: &Ends, ends: &Ends) -> bool {
    ends.iter().all(|(place, next)| *next == 0 || now.get(place).is_some_and(|now| now >= next))
}

fn unhalted<T>(done: Result<T, Halt>) -> anyhow::Result<T> {
    match done {
        Ok(done) => Ok(done),
        Err(Halt::Fenced) => bail!("another one follows the topics into it, or it was made anew"),
        Err(Halt::Stopped) => bail!("the database does not answer, or the process stops"),
    }
}

/// Reads what became of dead letters since the last time. Answers the keys on which something was decided.
pub(super) async fn learn(
    connection: &mut PgConnection,
    decided: &RwLock<Letters>,
) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    loop {
        let number = decided.read().unwrap_or_else(PoisonError::into_inner).number();
        let records = log::answered(log::letters_after(connection, number, LETTERS_AT_ONCE)).await?;
        if records.is_empty() {
            return Ok(keys);
        }
        keys.extend(decided.write().unwrap_or_else(PoisonError::into_inner).add(records));
    }
}

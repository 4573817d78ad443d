//! The projection of one process: where it stands in its partitions, what waits there, and how a batch is
//! committed. An error of the database waits and is tried again; it never loses a position.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use shared::{
    consumer::{Place, Position},
    contract::{
        Timestamp,
        dead_letter::DeadLetterCommand,
        envelope::{Mode, Raw},
    },
    failure::{Failure, Holds, KeyHold},
    http::Readiness,
    log::{self, Appended, HeldRow, KeyHeld, Move, StoreError, connect::Unfit},
    shutdown::Shutdown,
    telemetry::{
        Metrics,
        metrics::{DeadLetterLabel, TopicLabel},
    },
};
use sqlx::PgConnection;
use tracing::{debug, error, info, warn};

use super::{
    batch::{Batch, Redriven, Taken, touched},
    clock::Clock,
    lag::Lag,
    waiters::Waiters,
};
use crate::{
    intake::{GROUP, Heard},
    read_model::{load, schema, write},
};

/// What the readiness of the process calls the database.
pub const NEED_DATABASE: &str = "database";
const BACKOFF_MS_FIRST: u64 = 100;
const BACKOFF_MS_MAX: u64 = 5_000;
/// How much of what waits on a key is released in one transaction.
const RELEASED_AT_ONCE: i64 = 500;

pub struct Projection {
    url: String,
    schema: &'static str,
    mode: Mode,
    /// Gone after any error, so that no statement runs where another may be unfinished.
    connection: Option<PgConnection>,
    /// Next offsets of our partitions, as they stand in the database. `None`: there is no row yet.
    positions: HashMap<Place, Option<i64>>,
    holds: Holds,
    /// Keys whose hold has no reason any more: what waits there goes on.
    released: VecDeque<String>,
    /// Records of letters that were committed since the relay was told.
    letters: usize,
    clock: Clock,
    pub waiters: Waiters,
    pub lag: Lag,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: Shutdown,
}

/// What came of messages that were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// Next offsets, for the lag tools; how many messages were poison; how many records of letters there are to
    /// publish.
    Committed { moved: Vec<(Place, i64)>, good: usize, poison: usize, letters: usize },
    /// Somebody else went on with a partition: nothing more is ours until we are assigned anew.
    Fenced,
    /// The process stops; what was not committed comes again.
    Stopped,
}

/// Why a batch is not committed.
enum Halt {
    Fenced,
    Stopped,
}

impl Projection {
    pub fn new(
        url: String,
        mode: Mode,
        lag: Lag,
        metrics: Metrics,
        readiness: Readiness,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            url,
            schema: schema::SERVED,
            mode,
            connection: None,
            positions: HashMap::new(),
            holds: Holds::default(),
            released: VecDeque::new(),
            letters: 0,
            clock: Clock::default(),
            waiters: Waiters::default(),
            lag,
            metrics,
            readiness,
            shutdown,
        }
    }

    /// These partitions and no others are ours: where each goes on. `None` where the process stops first.
    pub async fn assign(&mut self, places: &[Place]) -> Option<Vec<Position>> {
        self.revoke();
        let mut attempt = 0;
        loop {
            match self.stand(places).await {
                Ok((positions, held)) => {
                    self.positions =
                        positions.iter().map(|position| (position.place, position.next)).collect();
                    self.take_holds(held);
                    self.lag.committed(self.clock.now());
                    return Some(positions);
                }
                Err(error) => self.wait(&error, &mut attempt).await.ok()?,
            }
        }
    }

    pub fn revoke(&mut self) {
        self.positions.clear();
        self.holds.clear();
        self.released.clear();
    }

    /// Folds and commits messages in order. Those of partitions that are not ours, and those that are done already,
    /// are left out.
    pub async fn take(&mut self, messages: Vec<Raw>) -> Came {
        let started = Instant::now();
        let due = messages.into_iter().filter(|raw| self.is_due(raw));
        let taken: Vec<Taken> = due.map(|raw| Taken::new(raw, self.mode)).collect();
        let times = taken.iter().map(|taken| taken.raw.timestamp_ms);
        if let Some(oldest) = times.clone().min() {
            self.lag.taken(time(oldest));
        }
        let newest = times.max();
        match self.take_all(&taken).await {
            Ok(poison) => {
                if let Some(newest) = newest {
                    self.lag.committed(time(newest));
                    self.observe(&taken, started);
                }
                let moved = moves_of(&taken).into_iter().collect();
                let letters = std::mem::take(&mut self.letters);
                Came::Committed { moved, good: taken.len().saturating_sub(poison), poison, letters }
            }
            Err(Halt::Stopped) => Came::Stopped,
            Err(Halt::Fenced) => {
                self.revoke();
                self.metrics.fenced_batches.inc();
                warn!("fenced: somebody else went on with a partition, so positions are read again");
                Came::Fenced
            }
        }
    }

    /// A command is committed alone, since what it frees goes on before what came after it.
    async fn take_all(&mut self, taken: &[Taken]) -> Result<usize, Halt> {
        self.release().await?;
        let mut poison = 0;
        for part in taken.chunk_by(|one, other| !is_command(one) && !is_command(other)) {
            poison += self.commit(part).await?;
            self.release().await?;
        }
        Ok(poison)
    }

    fn is_due(&self, raw: &Raw) -> bool {
        match self.positions.get(&(raw.topic, raw.partition)) {
            Some(next) => next.is_none_or(|next| raw.offset >= next),
            None => false,
        }
    }

    /// Commits messages with their positions. Answers how many of them became dead letters.
    async fn commit(&mut self, part: &[Taken]) -> Result<usize, Halt> {
        let mut attempt = 0;
        loop {
            let error = match self.try_commit(part, None).await {
                Ok((batch, appended)) => return self.committed(batch, appended, &mut attempt).await,
                Err(error) => error,
            };
            if !error.is_of_a_message() {
                self.wait(&error, &mut attempt).await?;
                continue;
            }
            if let [alone] = part {
                return self.commit_unacceptable(alone, &error).await;
            }
            // The database does not take something of one message: find it.
            let (first, second) = part.split_at(part.len() / 2);
            return Ok(Box::pin(self.commit(first)).await? + Box::pin(self.commit(second)).await?);
        }
    }

    async fn commit_unacceptable(&mut self, alone: &Taken, error: &StoreError) -> Result<usize, Halt> {
        error!(%error, topic = alone.raw.topic.name(), offset = alone.raw.offset, "a message is not stored");
        let failure = Failure::failed("unacceptable", "the database does not take a value of this message");
        let mut attempt = 0;
        loop {
            match self.try_commit(std::slice::from_ref(alone), Some(&failure)).await {
                Ok((batch, appended)) => return self.committed(batch, appended, &mut attempt).await,
                Err(error) => self.wait(&error, &mut attempt).await?,
            }
        }
    }

    /// One try. With `instead` the message is buried for that reason without being folded.
    async fn try_commit(
        &mut self,
        part: &[Taken],
        instead: Option<&Failure>,
    ) -> Result<(Batch, Appended), StoreError> {
        let (mode, now) = (self.mode, self.clock.now());
        let moves = moves_of(part)
            .into_iter()
            .map(|(place, to)| Move {
                topic: place.0,
                partition: place.1,
                from: self.positions.get(&place).copied().flatten(),
                to,
            })
            .collect();
        let holds = self.holds.clone();
        let connection = self.connection().await?;
        let redriven = match part {
            [Taken { read: Ok(Heard::Command(_, command)), .. }] => {
                redriven(connection, command, mode).await?
            }
            _ => None,
        };
        let again = redriven.iter().map(|redriven| &redriven.again);
        let rows = load::rows(connection, &touched(part.iter().chain(again))).await?;
        let mut batch = Batch::new(rows, now);
        for taken in part {
            match (instead, &taken.read) {
                (Some(failure), _) => batch.bury_alone(&holds, taken, failure),
                (None, Ok(Heard::Command(_, command))) => {
                    batch.command(&holds, taken, command, redriven.as_ref());
                }
                (None, _) => batch.take(&holds, taken),
            }
        }
        batch.write.moves = moves;
        let appended = write::commit(connection, &batch.rows, &batch.write).await?;
        Ok((batch, appended))
    }

    /// Takes over what is committed.
    async fn committed(
        &mut self,
        batch: Batch,
        appended: Appended,
        attempt: &mut u32,
    ) -> Result<usize, Halt> {
        match appended {
            Appended::Done { now } => {
                self.clock.set(now);
                for (key, hold) in batch.holds {
                    if self.holds.get(&key).letter.is_some() && hold.letter.is_none() {
                        self.released.push_back(key.clone());
                    }
                    self.holds.set(key, hold);
                }
            }
            // The answer of the same call was lost, and with it what it did to the holds.
            Appended::DoneBefore { now } => {
                self.clock.set(now);
                let places: Vec<Place> = self.positions.keys().copied().collect();
                let held = loop {
                    match self.stand(&places).await {
                        Ok((_, held)) => break held,
                        Err(error) => self.wait(&error, attempt).await?,
                    }
                };
                self.take_holds(held);
            }
            Appended::Fenced | Appended::LogMoved { .. } => return Err(Halt::Fenced),
        }
        self.readiness.found(NEED_DATABASE);
        for step in &batch.write.moves {
            self.positions.insert((step.topic, step.partition), Some(step.to));
        }
        self.letters += batch.write.letters.len();
        self.waiters.tell(&batch.visible);
        self.metrics.duplicates.inc_by(batch.duplicates as u64);
        self.metrics.held_keys.set(self.holds.len() as i64);
        for code in &batch.poison {
            let label = DeadLetterLabel { group: GROUP.into(), code: code.clone().into() };
            self.metrics.dead_letters.get_or_create(&label).inc();
        }
        Ok(batch.poison.len())
    }

    /// Goes on with what waits on keys that nothing holds any more.
    async fn release(&mut self) -> Result<(), Halt> {
        while let Some(key) = self.released.front().cloned() {
            let mut attempt = 0;
            let went_on = loop {
                match self.try_release(&key).await {
                    Ok(None) => break false,
                    Ok(Some((batch, appended))) => {
                        let unheld = batch.write.unheld.len();
                        self.committed(batch, appended, &mut attempt).await?;
                        info!(key, messages = unheld, "released what was waiting");
                        break unheld > 0;
                    }
                    Err(error) => self.wait(&error, &mut attempt).await?,
                }
            };
            if !went_on || self.holds.get(&key).letter.is_some() {
                self.released.retain(|known| *known != key);
            }
        }
        Ok(())
    }

    /// One try; `None` where nothing waits on the key.
    async fn try_release(&mut self, key: &str) -> Result<Option<(Batch, Appended)>, StoreError> {
        let (mode, now, holds) = (self.mode, self.clock.now(), self.holds.clone());
        // Nothing moves, but all of it is compared: who is fenced must not go on with what waits either.
        let stands = self.positions.iter();
        let moves = stands
            .filter_map(|(&(topic, partition), next)| {
                next.map(|next| Move { topic, partition, from: Some(next), to: next })
            })
            .collect();
        let connection = self.connection().await?;
        let rows = log::held_messages(connection, &[key.to_owned()], RELEASED_AT_ONCE).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let waiting: Vec<(HeldRow, Taken)> = rows
            .into_iter()
            .map(|row| {
                let taken = Taken::new(row.held.raw.clone(), mode);
                (row, taken)
            })
            .collect();
        let rows = load::rows(connection, &touched(waiting.iter().map(|(_, taken)| taken))).await?;
        let mut batch = Batch::new(rows, now);
        batch.release(&holds, key, &waiting);
        batch.write.moves = moves;
        let appended = write::commit(connection, &batch.rows, &batch.write).await?;
        Ok(Some((batch, appended)))
    }

    /// Positions before what waits in their partitions: who still holds a message between the two reads moves a
    /// position with it, and that fences us.
    async fn stand(&mut self, places: &[Place]) -> Result<(Vec<Position>, Vec<KeyHeld>), StoreError> {
        let connection = self.connection().await?;
        let positions = log::positions(connection, places).await?;
        let mut partitions: Vec<i32> = places.iter().map(|(_, partition)| *partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let held = log::held_keys(connection, &partitions).await?;
        let now = sqlx::query_scalar("select now()").fetch_one(connection).await?;
        self.clock.set(now);
        self.readiness.found(NEED_DATABASE);
        let positions = positions
            .into_iter()
            .map(|stored| Position { place: (stored.topic, stored.partition), next: stored.next });
        Ok((positions.collect(), held))
    }

    /// What waits for no letter goes on: a process stopped in the middle of a release, or this build knows more
    /// than the one before.
    fn take_holds(&mut self, held: Vec<KeyHeld>) {
        self.holds.clear();
        for key_held in held {
            let count = |number: i64| usize::try_from(number).unwrap_or_default();
            let hold = KeyHold {
                letter: key_held.letter,
                too_early: count(key_held.too_early),
                behind: count(key_held.behind),
                newer: count(key_held.newer),
            };
            if hold.letter.is_none() {
                self.released.push_back(key_held.key.clone());
            }
            self.holds.set(key_held.key, hold);
        }
        self.metrics.held_keys.set(self.holds.len() as i64);
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        if self.connection.is_none() {
            let mut connection =
                schema::connection(&self.url, GROUP, self.schema).await.map_err(unavailable)?;
            schema::check(&mut connection).await.map_err(unavailable)?;
            self.connection = Some(connection);
        }
        self.connection.as_mut().ok_or(StoreError::Unavailable(sqlx::Error::WorkerCrashed))
    }

    /// Waits longer after each failure in a row. Errors that waiting does not help are waited for as well, loudly:
    /// going on would lose messages, and an operator may mend the database.
    async fn wait(&mut self, error: &StoreError, attempt: &mut u32) -> Result<(), Halt> {
        // Whatever it was in the middle of is thrown away with it.
        self.connection = None;
        self.readiness.lacks(NEED_DATABASE, error.to_string());
        let backoff_ms = (BACKOFF_MS_FIRST << (*attempt).min(10)).min(BACKOFF_MS_MAX);
        if error.is_infrastructure() {
            warn!(%error, backoff_ms, "the database is away, so the view waits");
        } else {
            error!(%error, backoff_ms, "the database refuses, so the view stands still");
        }
        *attempt += 1;
        tokio::select! {
            () = self.shutdown.requested() => Err(Halt::Stopped),
            () = tokio::time::sleep(Duration::from_millis(backoff_ms)) => Ok(()),
        }
    }

    fn observe(&self, taken: &[Taken], started: Instant) {
        let seconds = started.elapsed().as_secs_f64();
        self.metrics.batch_size.observe(taken.len() as f64);
        self.metrics.batch_seconds.observe(seconds);
        for taken in taken {
            let label = TopicLabel::of(taken.raw.topic);
            self.metrics.consumed.get_or_create(&label).inc();
            self.metrics.process_seconds.get_or_create(&label).observe(seconds);
        }
        debug!(messages = taken.len(), seconds, "committed");
    }
}

/// The letter that a command is about, with its message as it would be read now.
async fn redriven(
    connection: &mut PgConnection,
    command: &DeadLetterCommand,
    mode: Mode,
) -> Result<Option<Redriven>, StoreError> {
    let stored = log::letters(connection, &[command.dead_letter_id()]).await?.pop();
    Ok(stored.map(|stored| {
        let mended = match command {
            // It was checked when the command was read.
            DeadLetterCommand::Redrive(redrive) => redrive.value().ok().flatten(),
            DeadLetterCommand::Discard(_) => None,
        };
        let original = stored.letter.raw.clone();
        let value = mended.map(bytes::Bytes::from).or(original.value.clone());
        Redriven { again: Taken::new(Raw { value, ..original }, mode), stored }
    }))
}

/// Where each partition of these messages goes on.
fn moves_of(taken: &[Taken]) -> BTreeMap<Place, i64> {
    let mut moves = BTreeMap::new();
    for Taken { raw, .. } in taken {
        let next = moves.entry((raw.topic, raw.partition)).or_insert(0);
        *next = raw.offset.saturating_add(1).max(*next);
    }
    moves
}

fn is_command(taken: &Taken) -> bool {
    matches!(taken.read, Ok(Heard::Command(..)))
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_timestamp_millis(ms).unwrap_or_default()
}

fn unavailable(unfit: Unfit) -> StoreError {
    match unfit {
        Unfit::Store(error) => error,
        unfit => StoreError::Unavailable(sqlx::Error::Configuration(unfit.to_string().into())),
    }
}

//! The projection of one process: where it stands in its partitions, what waits there, and what it does with a
//! batch. How a batch is written is in `commit`.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use shared::{
    config,
    consumer::{self, Place, Position, operator::Loss},
    contract::{
        Timestamp,
        envelope::{Mode, Raw},
    },
    failure::{Holds, KeyHold},
    log::{self, GivenUp, KeyHeld, Move, StoreError, StoredPosition},
    telemetry::{About, Metrics, metrics::TopicLabel, spans::Began},
};
use sqlx::postgres::types::Oid;
use tracing::{debug, error, warn};

use super::{
    ahead::Ahead,
    batch::{Batch, Taken},
    care::{Before, Care},
    clock::Clock,
    known::Known,
    lag::Lag,
    store::{Stopped, Store},
    waiters::Waiters,
};
use crate::{intake::GROUP, live::Live, rebuild::Letters, view::rows::Rows};

pub struct Projection {
    pub(super) mode: Mode,
    pub(super) store: Store,
    /// Next offsets of our partitions, as they stand in the database, or will once the batch under way is written. `None`:
    /// there is no row yet.
    pub(super) positions: HashMap<Place, Option<i64>>,
    pub(super) care: Care,
    pub(super) holds: Holds,
    pub(super) known: Known,
    /// Keys whose hold has no reason any more: what waits there goes on.
    pub(super) released: VecDeque<String>,
    /// Records of letters that were committed since the relay was told.
    pub(super) letters: usize,
    pub(super) clock: Clock,
    /// The view whose rows and positions these are, as its table of orders is known to the database.
    pub(super) view: Oid,
    /// Of a second view: what was decided about what died.
    pub(super) decided: Option<Arc<RwLock<Letters>>>,
    pub(super) ahead: Ahead,
    pub waiters: Waiters,
    pub live: Live,
    pub lag: Lag,
    pub(super) metrics: Metrics,
    /// When the messages were taken that are committed now.
    pub(super) began: Began,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    Fenced,
    Stopped,
}

impl From<Stopped> for Halt {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl Projection {
    pub fn new(store: Store, mode: Mode, lag: Lag, metrics: Metrics) -> Self {
        Self {
            mode,
            store,
            positions: HashMap::new(),
            care: Care::default(),
            holds: Holds::default(),
            known: Known::default(),
            released: VecDeque::new(),
            letters: 0,
            clock: Clock::default(),
            view: Oid(0),
            decided: None,
            ahead: Ahead::default(),
            waiters: Waiters::default(),
            live: Live::default(),
            lag,
            metrics,
            began: Began::default(),
        }
    }

    /// Of a second view, which is filled beside the one that serves. Nobody is told of what it does.
    pub fn second(store: Store, mode: Mode, decided: Arc<RwLock<Letters>>) -> Self {
        let lag = Lag::new(Timestamp::UNIX_EPOCH);
        let metrics = Metrics::new(GROUP, config::BUILD);
        Self { decided: Some(decided), ..Self::new(store, mode, lag, metrics) }
    }

    /// These partitions and no others are ours: where each goes on. `None` where the process stops first.
    pub async fn assign(&mut self, places: &[Place]) -> Option<Vec<Position>> {
        self.revoke();
        let mut attempt = 0;
        loop {
            match log::answered(self.stand(places)).await {
                Ok((stored, held)) => {
                    self.care.assign(&stored);
                    let position = |stored: StoredPosition| Position {
                        place: (stored.topic, stored.partition),
                        next: stored.next,
                    };
                    let positions: Vec<Position> = stored.into_iter().map(position).collect();
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

    /// Goes on after what a topic has lost. `None` where the process stops first.
    pub(super) async fn give_up(&mut self, loss: &Loss) -> Option<GivenUp> {
        let mut attempt = 0;
        loop {
            match log::answered(async { loss.give_up(self.store.connection().await?).await }).await {
                Ok(given_up) => return Some(given_up),
                Err(error) => self.wait(&error, &mut attempt).await.ok()?,
            }
        }
    }

    /// Where each of our partitions goes on.
    pub(super) fn positions(&self) -> impl Iterator<Item = (Place, Option<i64>)> + '_ {
        self.positions.iter().map(|(place, next)| (*place, *next))
    }

    pub fn revoke(&mut self) {
        self.positions.clear();
        self.holds.clear();
        self.known.forget();
        self.released.clear();
    }

    /// Until the database can be asked again. What was committed is unknown, and so are the rows: a server that crashed may
    /// have forgotten the last of them, with their positions.
    pub(super) async fn wait(&mut self, error: &StoreError, attempt: &mut u32) -> Result<(), Halt> {
        self.known.forget();
        Ok(self.store.wait(error, attempt).await?)
    }

    /// How far we are behind the ends of the topics, for people and for every answer.
    pub(super) fn watch(&self, behind: &mut consumer::Lag, ends: &HashMap<Place, i64>) {
        self.lag.waited(behind.show(
            self.positions(),
            ends,
            self.clock.now().timestamp_millis(),
            &self.metrics,
        ));
    }

    /// Folds and commits messages in order. Those of partitions that are not ours, and those that are done already,
    /// are left out.
    pub async fn take(&mut self, messages: Vec<Raw>) -> Came {
        let started = Instant::now();
        self.began = Began::now();
        let due: Vec<Raw> = messages.into_iter().filter(|raw| self.is_due(raw)).collect();
        let times = due.iter().map(|raw| raw.timestamp_ms);
        let newest = times.clone().max();
        if let Some(oldest) = times.min() {
            self.lag.taken(time(oldest));
        }
        let offsets: Vec<(Place, i64)> = due.iter().map(|raw| (place(raw), raw.offset)).collect();
        match self.take_all(due).await {
            Ok(poison) => {
                if let Some(newest) = newest {
                    self.lag.committed(time(newest));
                    self.observe(&offsets, started);
                }
                let letters = std::mem::take(&mut self.letters);
                let good = offsets.len().saturating_sub(poison);
                Came::Committed { moved: ends(offsets), good, poison, letters }
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

    /// The same of a second view, whose messages were read elsewhere. Answers how many records of letters there are to publish.
    pub async fn follow(&mut self, taken: Vec<Taken>) -> Result<usize, Halt> {
        self.written().await?;
        let due = self.due(taken);
        self.release().await?;
        if !due.is_empty() {
            self.commit(&due).await?;
        }
        Ok(std::mem::take(&mut self.letters))
    }

    pub(super) fn due(&self, taken: Vec<Taken>) -> Vec<Taken> {
        let due = taken.into_iter().filter(|taken| self.is_due(&taken.raw));
        due.map(|taken| self.as_decided(taken)).collect()
    }

    /// Something was decided about what waits on these keys, in this order: what was done first may be what the next one
    /// needs.
    pub fn decided(&mut self, keys: Vec<String>) {
        let known: HashSet<&String> = keys.iter().collect();
        self.released.retain(|key| !known.contains(key));
        keys.into_iter().rev().for_each(|key| self.released.push_front(key));
    }

    /// There are no more messages before these places.
    pub async fn reached(&mut self, next: &[(Place, i64)]) -> Result<(), Halt> {
        self.written().await?;
        let stands = |place: &Place| self.positions.get(place).copied().flatten();
        let moves = next.iter().filter(|(place, next)| stands(place).is_none_or(|stands| stands < *next));
        let moves = moves.map(|&((topic, partition), to)| {
            let from = stands(&(topic, partition));
            Move { topic, partition, from, to }
        });
        let mut batch = Batch::new(Rows::default(), self.clock.now(), true);
        batch.write.moves = moves.collect();
        self.commit_moves(batch).await
    }

    /// Something may have been decided about it since it was read.
    fn as_decided(&self, taken: Taken) -> Taken {
        match &self.decided {
            Some(decided) if decided.read().unwrap_or_else(PoisonError::into_inner).knows(&taken.raw) => {
                self.read_again(taken.raw)
            }
            _ => taken,
        }
    }

    /// What a message that waited says now.
    pub(super) fn read_again(&self, raw: Raw) -> Taken {
        match &self.decided {
            Some(decided) => decided.read().unwrap_or_else(PoisonError::into_inner).read(raw, self.mode),
            None => Taken::new(raw, self.mode),
        }
    }

    async fn take_all(&mut self, due: Vec<Raw>) -> Result<usize, Halt> {
        self.release().await?;
        let mut poison = 0;
        let mut rest = due.into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut part = vec![first];
            if !self.care.is_careful(place(&part[0])) {
                while let Some(next) = rest.next_if(|raw| !self.care.is_careful(place(raw))) {
                    part.push(next);
                }
            }
            let taken = self.prepare(part).await?;
            // A command is committed alone, since what it frees goes on before what came after it.
            for part in taken.chunk_by(|one, other| !one.is_command() && !other.is_command()) {
                poison += self.commit(part).await?;
                self.release().await?;
            }
        }
        Ok(poison)
    }

    /// Notes what is about to be tried where that may be the end of the process, then decodes.
    async fn prepare(&mut self, part: Vec<Raw>) -> Result<Vec<Taken>, Halt> {
        let mut taken = Vec::with_capacity(part.len());
        for raw in part {
            let before = self.care.before(place(&raw), raw.offset);
            let mut attempt = 0;
            while let Err(error) = log::answered(self.note(&raw, before)).await {
                self.wait(&error, &mut attempt).await?;
            }
            taken.push(if before == Before::Bury {
                let (topic, partition) = (raw.topic.name(), raw.partition);
                let about = About::of(&raw);
                error!(
                    order_id = about.order_id(),
                    event_id = about.event_id(),
                    correlation_id = about.correlation_id(),
                    topic,
                    partition,
                    offset = raw.offset,
                    "the process died of this message several times"
                );
                Taken::deadly(raw)
            } else {
                Taken::new(raw, self.mode)
            });
        }
        Ok(taken)
    }

    async fn note(&mut self, raw: &Raw, before: Before) -> Result<(), StoreError> {
        match before {
            Before::Nothing | Before::Bury => {}
            Before::CountStart(before) => {
                let connection = self.store.connection().await?;
                log::count_start(connection, raw.topic, raw.partition, before).await?;
                self.care.begun(place(raw));
            }
            Before::CountAttempt(before) => {
                let connection = self.store.connection().await?;
                log::count_attempt(connection, raw.topic, raw.partition, raw.offset, before).await?;
            }
        }
        Ok(())
    }

    fn is_due(&self, raw: &Raw) -> bool {
        match self.positions.get(&(raw.topic, raw.partition)) {
            Some(next) => next.is_none_or(|next| raw.offset >= next),
            None => false,
        }
    }

    /// Positions before what waits in their partitions: who still holds a message between the two reads moves a
    /// position with it, and that fences us.
    pub(super) async fn stand(
        &mut self,
        places: &[Place],
    ) -> Result<(Vec<StoredPosition>, Vec<KeyHeld>), StoreError> {
        let connection = self.store.connection().await?;
        // First: where another view takes its place meanwhile, whatever is made of the rest is refused.
        self.view =
            sqlx::query_scalar("select 'order_view'::regclass::oid").fetch_one(&mut *connection).await?;
        let positions = log::positions(connection, places).await?;
        let mut partitions: Vec<i32> = places.iter().map(|(_, partition)| *partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let held = log::held_keys(connection, &partitions).await?;
        self.clock.set(sqlx::query_scalar("select now()").fetch_one(connection).await?);
        Ok((positions, held))
    }

    /// What waits for no letter goes on: a process stopped in the middle of a release, or this build knows more
    /// than the one before.
    pub(super) fn take_holds(&mut self, held: Vec<KeyHeld>) {
        self.holds.clear();
        for key_held in held {
            let count = |number: i64| usize::try_from(number).unwrap_or_default();
            // Of a second view: it may be about a message that is not read yet.
            let letter = key_held.letter.filter(|_| self.decided.is_none());
            let hold = KeyHold {
                letter,
                too_early: count(key_held.too_early),
                behind: count(key_held.behind),
                newer: count(key_held.newer),
            };
            if letter.is_none() {
                self.released.push_back(key_held.key.clone());
            }
            self.holds.set(key_held.key, hold);
        }
        self.metrics.held_keys.set(self.holds.len() as i64);
    }

    fn observe(&self, offsets: &[(Place, i64)], started: Instant) {
        let seconds = started.elapsed().as_secs_f64();
        self.metrics.batch_size.observe(offsets.len() as f64);
        self.metrics.batch_seconds.observe(seconds);
        for ((topic, _), _) in offsets {
            let label = TopicLabel::of(*topic);
            self.metrics.consumed.get_or_create(&label).inc();
            self.metrics.process_seconds.get_or_create(&label).observe(seconds);
        }
        debug!(messages = offsets.len(), seconds, "committed");
    }
}

/// Where each partition of these messages goes on.
pub(super) fn ends(offsets: impl IntoIterator<Item = (Place, i64)>) -> Vec<(Place, i64)> {
    let mut ends = BTreeMap::new();
    for (place, offset) in offsets {
        let next = ends.entry(place).or_insert(0);
        *next = offset.saturating_add(1).max(*next);
    }
    ends.into_iter().collect()
}

pub(super) fn place(raw: &Raw) -> Place {
    (raw.topic, raw.partition)
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_timestamp_millis(ms).unwrap_or_default()
}

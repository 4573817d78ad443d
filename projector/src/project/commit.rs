//! How a batch of the projection is written: tried until the database answers, halved where one message is to
//! blame, and followed by what it frees.

use std::collections::BTreeMap;

use shared::{
    consumer::Place,
    contract::{
        dead_letter::DeadLetterCommand,
        envelope::{Mode, Raw},
        ids::{OrderId, Sku},
    },
    failure::{Failure, poison},
    log::{self, Appended, HeldRow, Move, StoreError},
    telemetry::{
        About,
        metrics::{InvariantLabel, OutcomeLabel},
    },
};
use sqlx::PgConnection;
use tracing::{error, info};

use super::{
    Projection,
    batch::{Batch, Redriven, Taken, touched},
    drawn,
    projection::{Halt, ends, place},
};
use crate::{
    intake::{GROUP, Heard},
    read_model::{load, write},
    view::{order::OrderRow, rows::Ended, stock::StockRow},
};

/// How much of what waits on a key is released in one transaction.
const RELEASED_AT_ONCE: i64 = 500;

impl Projection {
    /// Commits messages with their positions. Answers how many of them became dead letters.
    pub(super) async fn commit(&mut self, part: &[Taken]) -> Result<usize, Halt> {
        let mut attempt = 0;
        loop {
            let error = match log::answered(self.try_commit(part, None)).await {
                Ok((batch, appended)) => return self.committed(part, batch, appended, &mut attempt).await,
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
        let about = About::of(&alone.raw);
        error!(
            %error,
            order_id = about.order_id(),
            event_id = about.event_id(),
            correlation_id = about.correlation_id(),
            topic = alone.raw.topic.name(),
            partition = alone.raw.partition,
            offset = alone.raw.offset,
            "a message is not stored"
        );
        let failure = unacceptable();
        let mut attempt = 0;
        let part = std::slice::from_ref(alone);
        loop {
            match log::answered(self.try_commit(part, Some(&failure))).await {
                Ok((batch, appended)) => return self.committed(part, batch, appended, &mut attempt).await,
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
        let (batch, view) = (self.folded(part, instead).await?, self.view);
        let appended = write::commit(self.store.connection().await?, view, &batch.rows, &batch.write).await?;
        Ok((batch, appended))
    }

    /// What these messages make of the rows as they stand.
    pub(super) async fn folded(
        &mut self,
        part: &[Taken],
        instead: Option<&Failure>,
    ) -> Result<Batch, StoreError> {
        let (mode, now, is_second) = (self.mode, self.clock.now(), self.decided.is_some());
        let moves = ends(part.iter().map(|taken| (place(&taken.raw), taken.raw.offset)))
            .into_iter()
            .map(|(place, to)| Move {
                topic: place.0,
                partition: place.1,
                from: self.positions.get(&place).copied().flatten(),
                to,
            })
            .collect();
        let holds = self.holds.clone();
        let connection = self.store.connection().await?;
        let redriven = match part {
            [Taken { read: Ok(Heard::Command(_, command)), .. }] => {
                redriven(connection, command, mode).await?
            }
            _ => None,
        };
        let again = redriven.iter().map(|redriven| &redriven.again);
        let (mut rows, unknown) = self.known.rows(touched(part.iter().chain(again)));
        self.ahead.let_pass(&unknown).await;
        load::rows(connection, &unknown, &mut rows).await?;
        let mut batch = Batch::new(rows, now, is_second);
        for taken in part {
            match (instead, &taken.read) {
                (Some(failure), _) => batch.bury_alone(&holds, taken, failure),
                (None, Ok(Heard::Command(_, command))) => {
                    batch.command(&holds, taken, command, redriven.as_ref());
                }
                (None, _) => batch.take(&holds, taken),
            }
        }
        batch.redriven = redriven;
        batch.write.moves = moves;
        Ok(batch)
    }

    /// Commits positions alone.
    pub(super) async fn commit_moves(&mut self, batch: Batch) -> Result<(), Halt> {
        let (view, mut attempt) = (self.view, 0);
        loop {
            let tried = async {
                let connection = self.store.connection().await?;
                write::commit(connection, view, &batch.rows, &batch.write).await
            };
            match log::answered(tried).await {
                Ok(appended) => return self.committed(&[], batch, appended, &mut attempt).await.map(drop),
                Err(error) => self.wait(&error, &mut attempt).await?,
            }
        }
    }

    /// Takes over what is committed of these messages.
    async fn committed(
        &mut self,
        part: &[Taken],
        mut batch: Batch,
        appended: Appended,
        attempt: &mut u32,
    ) -> Result<usize, Halt> {
        match appended {
            Appended::Done { now } => {
                self.clock.set(now);
                let (orders, stocks) =
                    (std::mem::take(&mut batch.rows.orders), std::mem::take(&mut batch.rows.stocks));
                self.stand_on(&batch, orders, stocks);
            }
            // The answer of the same call was lost, and with it what it did to the holds.
            Appended::DoneBefore { now } => {
                self.clock.set(now);
                self.known.forget();
                self.read_holds(attempt).await?;
                self.go_on(&batch);
            }
            Appended::Fenced | Appended::LogMoved { .. } => return Err(Halt::Fenced),
        }
        Ok(self.tell(part, batch))
    }

    /// Rows, holds and positions are from now on as the batch makes them.
    pub(super) fn stand_on(
        &mut self,
        batch: &Batch,
        orders: BTreeMap<OrderId, OrderRow>,
        stocks: BTreeMap<Sku, StockRow>,
    ) {
        if batch.is_whole {
            self.known.keep(orders, stocks);
        } else {
            self.known.forget();
        }
        for (key, hold) in &batch.holds {
            if self.holds.get(key).letter.is_some() && hold.letter.is_none() {
                self.released.push_back(key.clone());
            }
            self.holds.set(key.clone(), hold.clone());
        }
        self.go_on(batch);
    }

    fn go_on(&mut self, batch: &Batch) {
        for step in &batch.write.moves {
            let place = (step.topic, step.partition);
            self.positions.insert(place, Some(step.to));
            if step.from != Some(step.to) {
                self.care.finished(place);
            }
        }
    }

    /// What is committed of these messages can be known. Answers how many of them became dead letters.
    pub(super) fn tell(&mut self, part: &[Taken], mut batch: Batch) -> usize {
        self.letters += batch.write.letters.len();
        self.waiters.tell(&batch.visible);
        if self.decided.is_none() {
            drawn::tell(part, &batch, self.began);
        }
        self.live.tell(std::mem::take(&mut batch.seen));
        self.metrics.duplicates.inc_by(batch.duplicates as u64);
        self.metrics.held_keys.set(self.holds.len() as i64);
        for broken in &batch.rows.broken {
            let label = InvariantLabel { invariant: broken.name() };
            self.metrics.invariant_violations.get_or_create(&label).inc();
            error!(invariant = broken.name(), "an event broke an invariant");
        }
        for Ended { outcome, after } in batch.rows.ended.values() {
            let seconds = after.num_milliseconds() as f64 / 1_000.0;
            self.metrics.saga_seconds.get_or_create(&OutcomeLabel { outcome }).observe(seconds);
        }
        poison::tell(GROUP, &batch.poison, &self.metrics);
        batch.poison.len()
    }

    /// As they stand in the database, after a call that may have changed them.
    async fn read_holds(&mut self, attempt: &mut u32) -> Result<(), Halt> {
        let places: Vec<Place> = self.positions.keys().copied().collect();
        let held = loop {
            match log::answered(self.stand(&places)).await {
                Ok((_, held)) => break held,
                Err(error) => self.wait(&error, attempt).await?,
            }
        };
        self.take_holds(held);
        Ok(())
    }

    /// Goes on with what waits on keys that nothing holds any more.
    pub(super) async fn release(&mut self) -> Result<(), Halt> {
        while let Some(key) = self.released.front().cloned() {
            while self.release_some(&key).await? && self.holds.get(&key).letter.is_none() {}
            self.released.retain(|known| *known != key);
        }
        Ok(())
    }

    /// Whether anything went on.
    async fn release_some(&mut self, key: &str) -> Result<bool, Halt> {
        let (mut attempt, mut limit, mut instead) = (0, RELEASED_AT_ONCE, None);
        loop {
            match log::answered(self.try_release(key, limit, instead.as_ref())).await {
                Ok(None) => return Ok(false),
                Ok(Some((batch, appended))) => {
                    let unheld = batch.write.unheld.len();
                    self.committed(&[], batch, appended, &mut attempt).await?;
                    info!(key, messages = unheld, "released what was waiting");
                    return Ok(unheld > 0);
                }
                // The database does not take something of one of them: go on one by one, and bury that one.
                Err(error) if error.is_of_a_message() && limit > 1 => {
                    error!(%error, key, "a message that waited is not stored");
                    limit = 1;
                }
                Err(error) if error.is_of_a_message() && instead.is_none() => instead = Some(unacceptable()),
                Err(error) => {
                    self.wait(&error, &mut attempt).await?;
                    // It may have been committed, and what it released is not told by asking again.
                    self.read_holds(&mut attempt).await?;
                    if self.holds.get(key).letter.is_some() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// One try; `None` where nothing waits on the key.
    async fn try_release(
        &mut self,
        key: &str,
        limit: i64,
        instead: Option<&Failure>,
    ) -> Result<Option<(Batch, Appended)>, StoreError> {
        let (now, view, is_second) = (self.clock.now(), self.view, self.decided.is_some());
        let holds = self.holds.clone();
        // Nothing moves, but all of it is compared: who is fenced must not go on with what waits either.
        let stands = self.positions.iter();
        let moves = stands
            .filter_map(|(&(topic, partition), next)| {
                next.map(|next| Move { topic, partition, from: Some(next), to: next })
            })
            .collect();
        let connection = self.store.connection().await?;
        let rows = log::held_messages(connection, &[key.to_owned()], limit).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let waiting: Vec<(HeldRow, Taken)> = rows
            .into_iter()
            .map(|row| {
                let taken = self.read_again(row.held.raw.clone());
                (row, taken)
            })
            .collect();
        let (mut rows, unknown) = self.known.rows(touched(waiting.iter().map(|(_, taken)| taken)));
        let connection = self.store.connection().await?;
        load::rows(connection, &unknown, &mut rows).await?;
        let mut batch = Batch::new(rows, now, is_second);
        batch.release(&holds, key, &waiting, instead);
        batch.write.moves = moves;
        let appended = write::commit(connection, view, &batch.rows, &batch.write).await?;
        Ok(Some((batch, appended)))
    }
}

fn unacceptable() -> Failure {
    Failure::failed("unacceptable", "the database does not take a value of this message")
}

/// The letter that a command is about, with its message as it would be read now.
async fn redriven(
    connection: &mut PgConnection,
    command: &DeadLetterCommand,
    mode: Mode,
) -> Result<Option<Redriven>, StoreError> {
    let stored = log::letters(connection, &[command.dead_letter_id()]).await?.pop();
    Ok(stored.map(|stored| {
        let original = stored.letter.raw.clone();
        let value = command.mended().or(original.value.clone());
        Redriven { again: Taken::new(Raw { value, ..original }, mode), stored }
    }))
}

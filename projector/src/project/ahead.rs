//! Filling a view that nobody waits for: while one batch is written the next one is folded on top of it. What is in memory is
//! ahead of the database by that one batch.

use std::collections::BTreeSet;

use shared::{
    consumer::Place,
    log::{self, Appended, StoreError},
};
use sqlx::postgres::types::Oid;
use tokio::task::JoinHandle;

use super::{
    Projection, Store,
    batch::{Batch, Taken, touched},
    projection::Halt,
};
use crate::{read_model::write, view::rows::RowId};

/// The batch that is being written, and with what connection.
#[derive(Default)]
pub(super) struct Ahead {
    idle: Option<Store>,
    writing: Option<Writing>,
}

struct Writing {
    part: Vec<Taken>,
    rows: BTreeSet<RowId>,
    task: JoinHandle<Written>,
    /// What came of it.
    written: Option<Written>,
}

struct Written {
    store: Store,
    batch: Batch,
    outcome: Result<Appended, StoreError>,
}

impl Ahead {
    fn write(&mut self, mut store: Store, view: Oid, part: Vec<Taken>, batch: Batch) {
        let rows = touched(&part);
        let task = tokio::spawn(async move {
            let writing =
                async { write::commit(store.connection().await?, view, &batch.rows, &batch.write).await };
            let outcome = log::answered(writing).await;
            Written { store, batch, outcome }
        });
        self.writing = Some(Writing { part, rows, task, written: None });
    }

    /// Where one of these rows is being written, whoever reads them waits until it is.
    pub(super) async fn let_pass(&mut self, unknown: &BTreeSet<RowId>) {
        if let Some(writing) = self.writing.as_mut().filter(|writing| !writing.rows.is_disjoint(unknown)) {
            writing.end().await;
        }
    }

    async fn ended(&mut self) -> Option<(Vec<Taken>, Written)> {
        self.writing.as_mut()?.end().await;
        let writing = self.writing.take()?;
        Some((writing.part, writing.written?))
    }
}

impl Writing {
    async fn end(&mut self) {
        if self.written.is_none() {
            // A panic is ours too, as if it had been written here.
            let ended = (&mut self.task).await;
            self.written = Some(ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
        }
    }
}

impl Projection {
    /// As [`Projection::follow`], but the last batch may be on its way still when this returns.
    pub async fn fill(&mut self, taken: Vec<Taken>) -> Result<usize, Halt> {
        if !self.released.is_empty() {
            return self.follow(taken).await;
        }
        let due = self.due(taken);
        let batch = loop {
            let folded = log::answered(self.folded(&due, None)).await;
            match folded {
                Err(error) => self.wait(&error, &mut 0).await?,
                // What it was folded on top of stands.
                Ok(batch) if self.written().await? => break batch,
                Ok(_) => {}
            }
        };
        if !due.is_empty() {
            self.stand_on(&batch, batch.rows.orders.clone(), batch.rows.stocks.clone());
            let store = self.ahead.idle.take().unwrap_or_else(|| self.store.another());
            self.ahead.write(store, self.view, due, batch);
        }
        Ok(std::mem::take(&mut self.letters))
    }

    /// Until nothing is on its way any more. False where what was could not be written as it was, and has been written otherwise.
    pub(super) async fn written(&mut self) -> Result<bool, Halt> {
        let Some((part, Written { store, batch, outcome })) = self.ahead.ended().await else {
            return Ok(true);
        };
        match outcome {
            Ok(Appended::Done { now }) => {
                self.ahead.idle = Some(store);
                self.clock.set(now);
                self.tell(&part, batch);
                Ok(true)
            }
            // Nobody calls twice.
            Ok(Appended::DoneBefore { .. } | Appended::Fenced | Appended::LogMoved { .. }) => {
                Err(Halt::Fenced)
            }
            Err(error) if error.is_of_a_message() => {
                let places: Vec<Place> = self.positions.keys().copied().collect();
                self.assign(&places).await.ok_or(Halt::Stopped)?;
                self.commit(&part).await?;
                Ok(false)
            }
            Err(error) => {
                self.wait(&error, &mut 0).await?;
                Err(Halt::Stopped)
            }
        }
    }
}

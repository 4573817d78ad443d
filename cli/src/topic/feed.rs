//! Messages of several topics as they shall be shown: what was there before in the order of arrival, then as they come.

use shared::contract::envelope::Raw;
use tokio::sync::mpsc;

use crate::{
    exit::{Exit, ended},
    kafka::{Heard, Reader, sort_by_arrival},
};

/// What was there before is shown in the order of arrival over all topics; beyond that many it is streamed.
const SORTED_MESSAGES_MAX: i64 = 20_000;

pub(super) struct Feed {
    heard: mpsc::Receiver<Heard>,
    /// What was there before, until all of it has been heard.
    backlog: Option<Vec<Raw>>,
}

pub(super) struct Fed {
    pub(super) messages: Vec<Raw>,
    /// With these all that was there at the start has been told.
    pub(super) is_caught_up: bool,
}

impl Feed {
    pub(super) fn of(reader: Reader) -> Self {
        let sorts = reader.backlog() <= SORTED_MESSAGES_MAX;
        Self { heard: reader.follow(), backlog: sorts.then(Vec::new) }
    }

    /// What is next. Dropped while it waits it loses nothing.
    pub(super) async fn next(&mut self) -> anyhow::Result<Fed> {
        loop {
            match (self.heard.recv().await, &mut self.backlog) {
                (Some(Heard::Message(raw)), Some(backlog)) => backlog.push(raw),
                (Some(Heard::Message(raw)), None) => {
                    return Ok(Fed { messages: vec![raw], is_caught_up: false });
                }
                (Some(Heard::CaughtUp), _) => {
                    let mut messages = self.backlog.take().unwrap_or_default();
                    sort_by_arrival(&mut messages);
                    return Ok(Fed { messages, is_caught_up: true });
                }
                (Some(Heard::Failed(error)), _) => return Err(ended(Exit::Failed, error)),
                (None, _) => return Err(ended(Exit::Failed, "the reader stopped")),
            }
        }
    }
}

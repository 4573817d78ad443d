//! Many dead letters asked for as one: in the order in which they died, not faster than somebody wants, one run at a time. A run
//! is in memory only: with its process it ends, and what was not asked for by then is as open as it was.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use shared::contract::{
    Timestamp,
    dead_letter::{DeadLetterCommand, DiscardDeadLetter, RedriveDeadLetter},
    message::Message,
    topics::Topic,
};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::{
    commands::{Commands, Delivered},
    read_model::letter_bulk::Meant,
};

/// Commands that the broker has not acknowledged yet.
const UNDER_WAY: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Redrive,
    Discard,
}

/// What somebody asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub verb: Verb,
    pub by: String,
    pub reason: String,
    pub per_second: u32,
    pub traceparent: String,
}

#[derive(Debug)]
pub struct Run {
    pub asked: Asked,
    pub begun_at: Timestamp,
    /// What died first is asked for first.
    pub letters: Vec<Meant>,
    requested: AtomicUsize,
    /// Why no more are asked for.
    stopped: OnceLock<String>,
}

/// The newest run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Bulk {
    newest: Arc<Mutex<Option<Arc<Run>>>>,
    /// Held by who looks what a run would do.
    pub previews: Arc<tokio::sync::Mutex<()>>,
}

impl Bulk {
    pub fn newest(&self) -> Option<Arc<Run>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `None` while another one asks.
    pub fn begin(&self, asked: Asked, letters: Vec<Meant>, commands: Commands) -> Option<Arc<Run>> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.as_ref().is_some_and(|run| run.asks()) {
            return None;
        }
        let begun_at = Timestamp::from(std::time::SystemTime::now());
        let (requested, stopped) = (AtomicUsize::new(0), OnceLock::new());
        let run = Arc::new(Run { asked, begun_at, letters, requested, stopped });
        *newest = Some(Arc::clone(&run));
        tokio::spawn(ask(Arc::clone(&run), commands));
        Some(run)
    }
}

impl Run {
    /// Of how many the broker has the command.
    pub fn requested(&self) -> usize {
        self.requested.load(Ordering::Relaxed)
    }

    pub fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }

    pub fn stop(&self, why: String) {
        let _ = self.stopped.set(why);
    }

    /// Whether there are more to be asked for.
    pub fn asks(&self) -> bool {
        self.stopped().is_none() && self.requested() < self.letters.len()
    }

    fn heard(&self, sent: Result<Delivered, String>) {
        match sent {
            Ok(_) => drop(self.requested.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                warn!(error, "dead letters are asked for no more: the broker did not take a command");
                self.stop(format!("the broker did not take a command ({error})"));
            }
        }
    }

    fn command(&self, letter: &Meant) -> DeadLetterCommand {
        let (dead_letter_id, group) = (letter.id, letter.group.clone());
        let (by, reason) = (self.asked.by.clone(), self.asked.reason.clone());
        match self.asked.verb {
            Verb::Redrive => {
                RedriveDeadLetter { dead_letter_id, group, value_base64: None, by, reason }.into()
            }
            Verb::Discard => DiscardDeadLetter { dead_letter_id, group, by, reason }.into(),
        }
    }
}

/// Commands are handed to the client one after the other, so that of one key they stay in order.
async fn ask(run: Arc<Run>, commands: Commands) {
    let begun = Instant::now();
    let mut under_way = FuturesUnordered::new();
    for (number, letter) in run.letters.iter().enumerate() {
        let due = begun + Duration::from_secs_f64(number as f64 / f64::from(run.asked.per_second));
        loop {
            tokio::select! {
                Some(sent) = under_way.next() => run.heard(sent),
                () = sleep_until(due), if under_way.len() < UNDER_WAY => break,
            }
        }
        if run.stopped().is_some() {
            break;
        }
        let command = Message::DeadLetterCommand(run.command(letter));
        let (subject, key) = (letter.id.to_string(), letter.key.clone().map(Bytes::from));
        let (topic, trace) = (Topic::DeadLettersCommands, &run.asked.traceparent);
        under_way.push(commands.command(topic, &command, &subject, key, trace).1);
    }
    while let Some(sent) = under_way.next().await {
        run.heard(sent);
    }
}

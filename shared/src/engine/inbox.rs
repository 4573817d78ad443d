//! How the edge asks: a command goes into the inbox of the process, its answer comes after the commit.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    contract::ids::StreamName,
    decider::{Decider, Existing, Refusal},
};

/// The way in for HTTP commands. Cheap to clone.
pub struct Inbox<D: Decider> {
    sender: mpsc::Sender<Asked<D>>,
    /// The relay is too far behind: nothing but what is urgent is taken.
    overload: Arc<AtomicBool>,
}

/// A share of the inbox, one in this many, is kept for what is urgent.
const URGENT_SHARE: usize = 10;

/// A command with the place where its answer goes.
pub struct Asked<D: Decider> {
    pub id: Uuid,
    pub command: D::Command,
    pub traceparent: Option<String>,
    pub reply: oneshot::Sender<Result<Answer<D>, Unanswered>>,
}

/// It happened, or it was already so.
pub struct Answer<D: Decider> {
    /// The command's own stream, with its version and state after the command.
    pub stream: StreamName,
    pub version: i64,
    pub state: D::State,
    /// What this command appended; empty where it was already so.
    pub events: Vec<D::Event>,
    /// The event that was appended under the command's identity before.
    pub existing: Option<Existing<D::Event>>,
}

/// Nothing was appended, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    Refused(Refusal),
    /// Over a limit or shutting down: ask again later.
    Unavailable {
        detail: String,
        retry_after_seconds: u32,
    },
    /// Deciding failed; counted and logged.
    Failed,
}

/// An inbox that takes `asked_max` commands at once, and where they come out.
pub fn channel<D: Decider>(asked_max: usize) -> (Inbox<D>, mpsc::Receiver<Asked<D>>) {
    let (sender, receiver) = mpsc::channel(asked_max);
    (Inbox { sender, overload: Arc::default() }, receiver)
}

impl<D: Decider> Clone for Inbox<D> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), overload: self.overload.clone() }
    }
}

impl<D: Decider> Inbox<D> {
    /// Asks and waits for the commit. `id` identifies the command: the same id makes the same event ids.
    ///
    /// The caller may go away: the command is then decided all the same.
    pub async fn ask(
        &self,
        id: Uuid,
        command: D::Command,
        traceparent: Option<String>,
    ) -> Result<Answer<D>, Unanswered> {
        if self.overload.load(Ordering::Relaxed) {
            return Err(unavailable("too many events wait for the broker"));
        }
        if self.sender.capacity() <= self.sender.max_capacity() / URGENT_SHARE {
            return Err(unavailable("the inbox is full"));
        }
        self.ask_urgent(id, command, traceparent).await
    }

    /// The same for what must be taken as long as anything can be: a cancel frees what an overload waits for.
    pub async fn ask_urgent(
        &self,
        id: Uuid,
        command: D::Command,
        traceparent: Option<String>,
    ) -> Result<Answer<D>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { id, command, traceparent, reply };
        self.sender.try_send(asked).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => unavailable("the inbox is full"),
            mpsc::error::TrySendError::Closed(_) => unavailable("the service is shutting down"),
        })?;
        answer.await.unwrap_or_else(|_| Err(unavailable("the service is shutting down")))
    }

    /// Where the loop says that the relay is too far behind.
    pub(super) fn overload(&self) -> Arc<AtomicBool> {
        self.overload.clone()
    }
}

fn unavailable(detail: &str) -> Unanswered {
    Unanswered::Unavailable { detail: detail.to_owned(), retry_after_seconds: 1 }
}

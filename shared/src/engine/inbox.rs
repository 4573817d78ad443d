//! How the edge asks: a command goes into the inbox of the process, its answer comes after the commit.

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    contract::ids::StreamName,
    decider::{Decider, Existing, Refusal},
};

/// The way in for HTTP commands. Cheap to clone.
pub struct Inbox<D: Decider> {
    sender: mpsc::Sender<Asked<D>>,
}

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
    (Inbox { sender }, receiver)
}

impl<D: Decider> Clone for Inbox<D> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
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
        let (reply, answer) = oneshot::channel();
        let stopped = || Unanswered::Unavailable {
            detail: "the service is shutting down".into(),
            retry_after_seconds: 1,
        };
        let asked = Asked { id, command, traceparent, reply };
        self.sender.try_send(asked).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Unanswered::Unavailable { detail: "the inbox is full".into(), retry_after_seconds: 1 }
            }
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}

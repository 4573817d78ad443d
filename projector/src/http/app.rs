//! What the handlers share.

use shared::{
    contract::{
        Timestamp,
        envelope::{Mode, Outgoing},
        message::Message,
        topics::Topic,
    },
    http::{Problem, Trace},
    log::{self, StoreError},
    shutdown::Shutdown,
};
use tracing::error;
use uuid::Uuid;

use super::Projections;
use crate::{
    bulk::Bulk,
    commands::{Commands, Delivered},
    consumers::Consumers,
    live::Live,
    page::Overviews,
    project::{lag::Lag, waiters::Waiters},
    read_model::reads::{Reading, Reads},
    view::awaiting::Limits,
};

/// Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub reads: Reads,
    pub waiters: Waiters,
    pub lag: Lag,
    pub limits: Limits,
    pub commands: Commands,
    pub mode: Mode,
    pub projections: Projections,
    pub bulk: Bulk,
    pub consumers: Consumers,
    pub overviews: Overviews,
    pub live: Live,
    /// Answers that would not end by themselves end then.
    pub shutdown: Shutdown,
}

impl App {
    pub fn lag_ms(&self) -> i64 {
        self.lag.ms(Timestamp::from(std::time::SystemTime::now()))
    }

    /// Asks the view. In a task of its own: a client that goes away must not leave a connection in the middle of a
    /// statement.
    pub async fn read<T, F>(&self, question: impl FnOnce(Reading) -> F + Send + 'static) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let reads = self.reads.clone();
        let asked = tokio::spawn(async move {
            let connection = reads.take().await?;
            // A server that is gone without a word must not keep the turn of others.
            log::answered(question(connection)).await
        });
        match asked.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_infrastructure() => {
                Err(Problem::unavailable("the view's database does not answer", 1))
            }
            Ok(Err(error)) => {
                error!(%error, "a question could not be answered");
                Err(Problem::internal())
            }
            Err(error) => {
                error!(%error, "a question panicked");
                Err(Problem::internal())
            }
        }
    }

    /// Publishes a command, and says its id. The key is that of the partition that its reader has.
    pub async fn ask(
        &self,
        topic: Topic,
        command: &Message,
        subject: &str,
        key: Option<bytes::Bytes>,
        trace: &Trace,
    ) -> Result<Uuid, Problem> {
        let (id, sent) = self.commands.command(topic, command, subject, key, &trace.traceparent());
        sent.await.map_err(not_taken)?;
        Ok(id)
    }

    pub async fn send(&self, message: Outgoing, key: Option<bytes::Bytes>) -> Result<Delivered, Problem> {
        self.commands.send(message, key).await.map_err(not_taken)
    }
}

fn not_taken(error: String) -> Problem {
    Problem::unavailable(format!("the broker did not take the message ({error})"), 5)
}

//! What the handlers share.

use shared::{
    contract::{Timestamp, envelope::Outgoing},
    http::Problem,
    log::{self, StoreError},
};
use tracing::error;

use crate::{
    commands::Commands,
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

    pub async fn send(&self, command: Outgoing, key: Option<bytes::Bytes>) -> Result<(), Problem> {
        self.commands.send(command, key).await.map_err(|error| {
            Problem::unavailable(format!("the broker did not take the command ({error})"), 5)
        })
    }
}

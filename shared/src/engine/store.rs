//! The engine's own connection. No future of it is ever dropped halfway, but with the connection: a cancelled call
//! would leave one that nobody knows the state of.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    http::Readiness,
    log::{
        self, StoreError,
        connect::{self, Unfit},
    },
    process::DATABASE,
};

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

pub(super) struct Store {
    url: String,
    name: &'static str,
    connection: Option<PgConnection>,
    readiness: Readiness,
}

impl Store {
    pub(super) fn new(url: String, name: &'static str, readiness: Readiness) -> Self {
        Self { url, name, connection: None, readiness }
    }

    /// The same call until the database answers it. Infrastructure waits and lets lag show; any other error is the
    /// answer.
    pub(super) async fn run<T>(
        &mut self,
        mut call: impl AsyncFnMut(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut backoff = BACKOFF_MIN;
        loop {
            match log::answered(async { call(self.connected().await?).await }).await {
                Err(error) if error.is_infrastructure() => {
                    if self.connection.take().is_some() || backoff == BACKOFF_MIN {
                        warn!(%error, "the database is away; waiting for it");
                        self.readiness.lacks(DATABASE, "away");
                    }
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
                result => {
                    if backoff > BACKOFF_MIN {
                        info!("the database is back");
                    }
                    self.readiness.found(DATABASE);
                    return result;
                }
            }
        }
    }

    async fn connected(&mut self) -> Result<&mut PgConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = connect::connect_with(&self.url, self.name, &connect::BY_KEY)
                    .await
                    .map_err(Unfit::after_start)?;
                // A server that came back shows what it had not confirmed when it crashed.
                log::confirm(&mut connection).await?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }
}

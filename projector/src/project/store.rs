//! A connection of the projection's own, and how it waits while there is none. No future of it is ever dropped halfway,
//! but with the connection: a cancelled call would leave one that nobody knows the state of.

use std::time::Duration;

use shared::{
    http::Readiness,
    log::{
        StoreError,
        connect::{BY_KEY, Unfit},
    },
    process::DATABASE,
    shutdown::Shutdown,
};
use sqlx::PgConnection;
use tracing::{error, warn};

use crate::{intake::GROUP, read_model::schema};

const BACKOFF_MS_FIRST: u64 = 100;
const BACKOFF_MS_MAX: u64 = 5_000;

pub struct Store {
    url: String,
    schema: &'static str,
    /// Gone after any error, so that no statement runs where another may be unfinished.
    connection: Option<PgConnection>,
    readiness: Readiness,
    shutdown: Shutdown,
    is_patient: bool,
}

/// The process stops, or nobody waits here.
pub struct Stopped;

impl Store {
    pub fn new(url: String, schema: &'static str, readiness: Readiness, shutdown: Shutdown) -> Self {
        Self { url, schema, connection: None, readiness, shutdown, is_patient: true }
    }

    /// Gives up at the first error: whoever fills a second view begins anew then, since it may be gone.
    pub fn impatient(url: String, schema: &'static str, shutdown: Shutdown) -> Self {
        Self { is_patient: false, ..Self::new(url, schema, Readiness::new(&[]), shutdown) }
    }

    /// One more connection of the same kind.
    pub(super) fn another(&self) -> Self {
        Self {
            url: self.url.clone(),
            connection: None,
            readiness: self.readiness.clone(),
            shutdown: self.shutdown.clone(),
            ..*self
        }
    }

    pub(super) async fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = schema::connection_with(&self.url, GROUP, self.schema, &BY_KEY)
                    .await
                    .map_err(Unfit::after_start)?;
                schema::check(&mut connection).await.map_err(Unfit::after_start)?;
                self.readiness.found(DATABASE);
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Waits longer after each failure in a row. Errors that waiting does not mend are waited for as well, loudly:
    /// going on would lose messages, and an operator may mend the database.
    pub(super) async fn wait(&mut self, error: &StoreError, attempt: &mut u32) -> Result<(), Stopped> {
        self.connection = None;
        if !self.is_patient {
            warn!(%error, "the database does not answer for the second view");
            return Err(Stopped);
        }
        self.readiness.lacks(DATABASE, error.to_string());
        let backoff_ms = (BACKOFF_MS_FIRST << (*attempt).min(10)).min(BACKOFF_MS_MAX);
        if error.is_infrastructure() {
            warn!(%error, backoff_ms, "the database is away, so the view waits");
        } else {
            error!(%error, backoff_ms, "the database refuses, so the view stands still");
        }
        *attempt += 1;
        tokio::select! {
            () = self.shutdown.requested() => Err(Stopped),
            () = tokio::time::sleep(Duration::from_millis(backoff_ms)) => Ok(()),
        }
    }
}

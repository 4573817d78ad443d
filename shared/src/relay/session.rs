//! The relay's own connection: the lock that makes one relay the active one, and all that it asks the database.
//!
//! The lock lives as long as the session. The server ends a session that says nothing for four seconds, so a frozen
//! leader loses it, and with it the right to write the cursor, which is written here and nowhere else.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::{
    contract::Timestamp,
    log::{self, Lane, NumberedLetter, StoreError, connect::Unfit},
};

/// Lock 1 of a database is its log's, lock 2 its relay's.
const LOCK: i64 = 2;
const IDLE_TIMEOUT: &str = "4s";
/// Beyond the server's own limits: the connection is broken without anybody having said so.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Session {
    connection: PgConnection,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("the database has not answered for {} s", CALL_TIMEOUT.as_secs())]
    Silent,
    /// Somebody else wrote it, so the lead is lost.
    #[error("the cursor of {lane:?} is already at {to} or past it")]
    CursorMoved { lane: Lane, to: i64 },
}

/// The session is dropped after an error, so a call that is given up leaves nothing behind.
async fn answered<T, E>(call: impl Future<Output = Result<T, E>>) -> Result<T, SessionError>
where
    SessionError: From<E>,
{
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(SessionError::Silent),
    }
}

impl Session {
    pub(super) async fn open(url: &str, service: &str) -> Result<Self, SessionError> {
        let name = format!("{service} relay");
        let mut settings = log::connect::BY_KEY.to_vec();
        // A cursor that a crash forgets makes duplicates, not losses.
        settings.extend([("idle_session_timeout", IDLE_TIMEOUT), ("synchronous_commit", "off")]);
        let connection = answered(log::connect::connect_with(url, &name, &settings)).await?;
        Ok(Self { connection })
    }

    /// Whether this session has the lock now. Asking keeps the session alive.
    pub(super) async fn try_lead(&mut self) -> Result<bool, SessionError> {
        let lock =
            sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut self.connection);
        answered(async { lock.await.map_err(StoreError::from) }).await
    }

    pub(super) async fn cursor(&mut self, lane: Lane) -> Result<i64, SessionError> {
        answered(log::cursor(&mut self.connection, lane)).await
    }

    pub(super) async fn end(&mut self, lane: Lane) -> Result<i64, SessionError> {
        match lane {
            Lane::Events => answered(log::end(&mut self.connection)).await,
            Lane::DeadLetters => answered(log::letters_end(&mut self.connection)).await,
        }
    }

    /// What waits in a lane, whoever is to publish it, and since when.
    pub(super) async fn waiting(&mut self, lane: Lane) -> Result<(i64, Option<Timestamp>), SessionError> {
        let waiting = self.end(lane).await? - self.cursor(lane).await?;
        Ok((waiting, answered(log::waits_since(&mut self.connection, lane)).await?))
    }

    pub(super) async fn events(
        &mut self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<crate::contract::envelope::Recorded>, SessionError> {
        let events = answered(log::tail(&mut self.connection, after, limit as i64)).await?;
        self.confirm(!events.is_empty()).await?;
        Ok(events)
    }

    pub(super) async fn letters(
        &mut self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<NumberedLetter>, SessionError> {
        let letters = answered(log::letters_after(&mut self.connection, after, limit as i64)).await?;
        self.confirm(!letters.is_empty()).await?;
        Ok(letters)
    }

    /// What is published must not be lost with its server.
    async fn confirm(&mut self, is_needed: bool) -> Result<(), SessionError> {
        if is_needed {
            answered(log::confirm(&mut self.connection)).await?;
        }
        Ok(())
    }

    pub(super) async fn save_cursor(&mut self, lane: Lane, to: i64) -> Result<(), SessionError> {
        let moved = answered(log::advance_cursor(&mut self.connection, lane, to)).await?;
        if moved { Ok(()) } else { Err(SessionError::CursorMoved { lane, to }) }
    }

    /// Gives the lock back at once; otherwise the server does when it notices.
    pub(super) async fn close(self) {
        let _ = timeout(CALL_TIMEOUT, self.connection.close()).await;
    }
}

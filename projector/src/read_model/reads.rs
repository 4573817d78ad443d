//! Connections for questions. sqlx's pool knows one address; this one opens each connection where the writes are taken at
//! that moment, so that questions follow a failover as everything else does.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared::log::{StoreError, connect::Unfit};
use sqlx::{Connection, PgConnection};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::schema::{self, SERVED};

const NAME: &str = "projector-reads";
const CONNECTIONS_MAX: usize = 8;
/// A turn and a connection. Of two servers the first may be silent.
const TAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Of an idle connection, so that some dead ones leave time for a new one.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reads {
    url: Arc<str>,
    turns: Arc<Semaphore>,
    /// Those that nobody uses right now.
    idle: Arc<Mutex<Vec<PgConnection>>>,
}

/// A connection for as long as one question takes.
#[derive(Debug)]
pub struct Reading {
    /// `None` only while it is dropped.
    connection: Option<PgConnection>,
    reads: Reads,
    _turn: OwnedSemaphorePermit,
}

impl Reads {
    /// Connects when it is asked, so it is made before the database answers.
    pub fn new(url: &str) -> Self {
        let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { url: url.into(), turns, idle: Arc::default() }
    }

    pub async fn take(&self) -> Result<Reading, StoreError> {
        let taken = timeout(TAKE_TIMEOUT, async {
            let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            let connection = self.connection().await?;
            Ok(Reading { connection: Some(connection), reads: self.clone(), _turn: turn })
        });
        taken.await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
    }

    /// One that lives: the server of an idle one may be gone, or its last question was given up.
    async fn connection(&self) -> Result<PgConnection, StoreError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut connection) = idle else { break };
            if timeout(PING_TIMEOUT, connection.ping()).await.is_ok_and(|pinged| pinged.is_ok()) {
                return Ok(connection);
            }
        }
        schema::connection(&self.url, NAME, SERVED).await.map_err(Unfit::after_start)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut idle = self.reads.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.connection.take());
    }
}

impl Deref for Reading {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is there until the drop")
    }
}

//! How long a call to the database may take before its connection counts as broken.

use std::{io, time::Duration};

use tokio::time::timeout;

use super::StoreError;

/// Beyond the server's own limits (a statement ends after five seconds): the connection is broken without anybody
/// having said so. A cable was pulled, a proxy fell silent.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The answer of a call, or [`StoreError::Unavailable`] where none came in time. The call is dropped halfway then, so
/// its connection must be dropped with it, as after every error.
pub async fn answered<T, E: From<StoreError>>(call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| {
        let silence = format!("it has not answered for {} s", CALL_TIMEOUT.as_secs());
        let silence = io::Error::new(io::ErrorKind::TimedOut, silence);
        Err(StoreError::Unavailable(sqlx::Error::Io(silence)).into())
    })
}

//! What can go wrong at the store, by what to do about it.

use sqlx::postgres::PgDatabaseError;

use crate::contract::ids::StreamName;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away or busy. Nobody's fault, never poison: wait and ask again. Whether a call that ended so
    /// was committed is unknown.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// A value that the database does not take, so one message's fault: found by halving the batch.
    #[error("the database does not take a value: {0}")]
    Unacceptable(#[source] sqlx::Error),
    /// What stands in the database cannot be what was appended.
    #[error("the database holds what nobody appended: {0}")]
    Corrupt(String),
    /// This process has seen events that the log does not have: an older backup was restored under it.
    #[error(
        "the log ends at {end}, but this process has seen {seen}: was the database restored? start again"
    )]
    LogBehind { seen: i64, end: i64 },
    /// Another event stands where this process has seen one: another copy of the database was restored or promoted.
    #[error(
        "position {seen} of the log is another event than this process has seen: was a copy of the database restored \
         or promoted? start again"
    )]
    LogDiffers { seen: i64 },
    /// Whoever decided this did not know the stream as it is.
    #[error("a stream has an event of this version: {0}")]
    VersionTaken(String),
    #[error("stream {stream} is at version {actual}, not {expected}")]
    WrongVersion { stream: StreamName, expected: i64, actual: i64 },
    /// A mistake of ours: a missing table, a broken constraint, a refused privilege.
    #[error("the database refused: {0}")]
    Refused(#[source] sqlx::Error),
}

impl StoreError {
    /// Waits with backoff and lets lag show; it never makes a dead letter.
    pub fn is_infrastructure(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Some message of the batch is to blame.
    pub fn is_of_a_message(&self) -> bool {
        matches!(self, Self::Unacceptable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => match database.code().as_deref().map(class) {
                Some(Class::Infrastructure) => Self::Unavailable(error),
                Some(Class::Value) => Self::Unacceptable(error),
                Some(Class::Damage) => Self::Corrupt(error.to_string()),
                _ if database.constraint() == Some(VERSIONS) => Self::VersionTaken(error.to_string()),
                Some(Class::Other) | None => match database.try_downcast_ref::<PgDatabaseError>() {
                    // The server said goodbye without a code that we know.
                    Some(postgres) if postgres.severity() == sqlx::postgres::PgSeverity::Fatal => {
                        Self::Unavailable(error)
                    }
                    _ => Self::Refused(error),
                },
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Self::Corrupt(error.to_string()),
            _ => Self::Refused(error),
        }
    }
}

/// Postgres's own name for the constraint of `event` that a stream has each version once.
const VERSIONS: &str = "event_stream_version_key";

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Infrastructure,
    Value,
    Damage,
    Other,
}

/// Source: PostgreSQL, Appendix A, error codes.
fn class(sqlstate: &str) -> Class {
    match sqlstate {
        // Serialization failure, deadlock, lock not available, an aborted or idle transaction that was ended.
        "40001" | "40P01" | "55P03" | "25P02" | "25P03" => Class::Infrastructure,
        // A standby: during a failover the address still leads to it.
        "25006" => Class::Infrastructure,
        "23502" | "23514" => Class::Value,
        "XX001" | "XX002" => Class::Damage,
        _ => match sqlstate.get(..2) {
            // Connection, resources, operator intervention, the server's own input and output.
            Some("08" | "53" | "57" | "58") => Class::Infrastructure,
            // Data exception; a limit of the server, such as the length of an index entry.
            Some("22" | "54") => Class::Value,
            _ => Class::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_never_a_messages_fault() {
        for passing in [
            "08006", "40001", "40P01", "53300", "53100", "55P03", "57P01", "57014", "25P02", "25P03", "58030",
        ] {
            assert_eq!(class(passing), Class::Infrastructure, "{passing}");
        }
        for value in ["22021", "22003", "23502", "23514", "54000"] {
            assert_eq!(class(value), Class::Value, "{value}");
        }
        for ours in ["42P01", "23505", "42501", "23001", "P0001"] {
            assert_eq!(class(ours), Class::Other, "{ours}");
        }
    }
}

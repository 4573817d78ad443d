//! How a command ends: the contract's exit codes, and which error is which.

use std::process::ExitCode;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use shared::{
    broker::{SettingError, topics::TopicsError},
    log::connect::Unfit,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Refused = 4,
    /// Some of it is done and some is not.
    Partly = 5,
    Waited = 6,
    Unreachable = 7,
    Configuration = 78,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An end that is not "done", with what a person reads.
#[derive(Debug)]
struct Ended {
    exit: Exit,
    text: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Ended {}

pub fn ended(exit: Exit, text: impl Into<String>) -> anyhow::Error {
    Ended { exit, text: text.into() }.into()
}

/// The code of an error, whatever context it was given on its way.
pub fn of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Failed)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(ended) = cause.downcast_ref::<Ended>() {
        return Some(ended.exit);
    }
    if let Some(error) = cause.downcast_ref::<TopicsError>() {
        return Some(match error {
            TopicsError::Unreachable { .. } => Exit::Unreachable,
            TopicsError::Missing(_) => Exit::NotFound,
            TopicsError::Unequal(_) => Exit::Configuration,
            TopicsError::Refused { .. } => Exit::Failed,
        });
    }
    if cause.is::<SettingError>() {
        return Some(Exit::Configuration);
    }
    if let Some(error) = cause.downcast_ref::<Unfit>() {
        return Some(if matches!(error, Unfit::Url(_)) { Exit::Configuration } else { Exit::Unreachable });
    }
    if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
        return (error.is_connect() || error.is_timeout()).then_some(Exit::Unreachable);
    }
    let error = cause.downcast_ref::<KafkaError>()?;
    let away = matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
        )
    );
    away.then_some(Exit::Unreachable)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_code_survives_the_context_that_an_error_is_given() {
        let error = Err::<(), _>(ended(Exit::NotFound, "no order x")).context("looking it up").unwrap_err();
        assert_eq!(of(&error), Exit::NotFound);
        assert_eq!(of(&anyhow::anyhow!("odd")), Exit::Failed);
        let away = TopicsError::Unreachable { bootstrap_servers: "x".into(), reason: "y".into() };
        assert_eq!(of(&away.into()), Exit::Unreachable);
    }

    #[tokio::test]
    async fn nobody_listening_is_unreachable() {
        let error = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .get("http://127.0.0.1:1/")
            .send()
            .await
            .unwrap_err();
        assert_eq!(of(&anyhow::Error::from(error).context("asking")), Exit::Unreachable);
    }
}

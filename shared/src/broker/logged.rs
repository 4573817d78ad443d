//! The client library's log lines and errors, as lines of ours.

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryResult, ProducerContext},
};
use tracing::{debug, error, info, warn};

/// What is logged by the client library carries this target, so that `RUST_LOG=librdkafka=debug` finds it.
pub const TARGET: &str = "librdkafka";

/// A client that only logs. Contexts of our own pass on to [`log`] and [`failed`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        failed(&error, reason);
    }
}

impl ProducerContext for Logged {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl rdkafka::consumer::ConsumerContext for Logged {}

/// Never above warn but for what ends the client: a broker that is away is waited for.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            error!(target: TARGET, facility, "{message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => warn!(target: TARGET, facility, "{message}"),
        RDKafkaLogLevel::Notice => info!(target: TARGET, facility, "{message}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => debug!(target: TARGET, facility, "{message}"),
    }
}

/// What the client says about itself. It goes on trying, so this informs; a fatal error is met again by whoever
/// uses the client next, who acts on it.
pub fn failed(error: &KafkaError, reason: &str) {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::Fatal) => error!(target: TARGET, %error, "{reason}"),
        // What a reader that wants to hear of ends asked for.
        Some(RDKafkaErrorCode::PartitionEOF) => {}
        // Once a broker connection; the log line of the connection has said it already.
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {
            debug!(target: TARGET, %error, "{reason}");
        }
        _ => warn!(target: TARGET, %error, "{reason}"),
    }
}

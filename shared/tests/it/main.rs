//! The tests of this crate from outside, in one binary: it links once. Those of `broker` and its like need a real
//! Kafka or Postgres, or the client library's mock cluster.
#![expect(clippy::unwrap_used, reason = "what a test builds its input with may fail it")]

mod log;
mod contract;
mod broker;
mod consumer;
mod relay;
mod http;
mod telemetry;

/// What the product logs, shown for a test that fails.
fn show_logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| "shared=info,librdkafka=warn".into());
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

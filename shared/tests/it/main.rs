//! The tests of this crate from outside, in one binary: it links once. Those of `broker` and its like need a real
//! Kafka or Postgres, or the client library's mock cluster.
#![expect(clippy::unwrap_used, reason = "what a test builds its input with may fail it")]

mod log;
mod contract;
mod broker;
mod consumer;
mod relay;
mod http;

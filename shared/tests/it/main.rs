//! The tests of this crate that need a real Kafka or Postgres, or the client library's mock cluster.

mod log;
mod broker;

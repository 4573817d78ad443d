//! All that the four services share, in the order a message flows through it.
//!
//! A service adds `domain.rs` (what it decides) and `reactions.rs` (what it hears); the rest of the way from a
//! topic or an HTTP request to the log, from the log to a topic and from there to the next service is here.

pub mod contract;
pub mod choreography;
pub mod decider;
pub mod broker;
pub mod log;
pub mod consumer;
pub mod cache;
pub mod execute;
pub mod failure;
pub mod mend;
pub mod failpoint;
pub mod task;
pub mod pace;
pub mod engine;
pub mod relay;
pub mod http;
pub mod config;
pub mod process;
pub mod telemetry;
pub mod shutdown;
pub mod testing;

//! The read side: folds every topic into rows that answer questions.
//!
//! The projector decides nothing and publishes no event. What it shows lags behind the logs by what is under way
//! on the topics, and each answer says by how much.

pub mod intake;
pub mod ends;
pub mod cached;
pub mod consumers;
pub mod view;
pub mod read_model;
pub mod live;
pub mod project;
pub mod rebuild;
pub mod drift;
pub mod commands;
pub mod bulk;
pub mod http;
pub mod page;
pub mod watch;
pub mod serve;

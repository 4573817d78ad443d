//! The relay: the log is the outbox. What was committed is published, in order, until the broker has it.
//!
//! One relay of a database is active. It decides nothing: [`machine`] is told what happened and says what to do.

pub mod machine;
pub mod record;

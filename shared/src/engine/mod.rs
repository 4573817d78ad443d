//! The loop of a service: one bounded inbox, batches, answers.

pub mod inbox;

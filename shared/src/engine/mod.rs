//! The loop of a service: one bounded inbox, batches, answers; and the order in which a process starts and stops.
//!
//! The thin shell around [`crate::execute`]: it takes what is there, does the reads and the append that the unit of
//! work asks for, and hands out what came of it. What it never does: decide, or wait for a fuller batch.

pub mod inbox;
pub mod gather;
mod begun;
pub mod timers;
pub mod assignment;
pub mod serve;
mod operate;
mod care;
mod clock;
mod reconcile;
mod run;
mod store;
mod take_back;

pub use reconcile::{Compared, Reconcile};
pub use serve::{Caller, Service, main, no_calls};

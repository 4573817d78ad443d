//! The log of a service and its neighbours: what is appended together, and what is read back.
//!
//! One append-only log a database. `position` is gapless and commit order is position order, because whoever
//! appends holds the log's lock until it has committed and must have seen all that stands in it.

pub mod request;

pub use request::*;

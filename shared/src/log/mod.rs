//! The log of a service and its neighbours: what is appended together, and what is read back.
//!
//! One append-only log a database. `position` is gapless and commit order is position order, because whoever
//! appends holds the log's lock until it has committed and must have seen all that stands in it.

pub mod request;
pub mod error;
pub mod connect;
pub mod append;
pub mod load;
pub mod tail;
#[cfg_attr(not(test), expect(dead_code, reason = "read with the holds"))]
mod headers;
mod row;

pub use append::append;
pub use error::StoreError;
pub use load::load;
pub use request::*;
pub use tail::{end, tail};

//! The view: rows as a pure fold of the topics. No I/O, no clock, no SQL.
//!
//! Order is kept on a topic per key and nowhere else, so each source of a row has a version of its own, and an
//! event is folded only onto the version before it. Any interleaving of topics and any duplicates then make the
//! same rows.

pub mod source;
pub mod order;
pub mod stock;
pub mod payment;
pub mod sale;
pub mod pace;
pub mod letter;
pub mod timeline;
pub mod past;
pub mod awaiting;
pub mod why;
pub mod invariant;
pub mod funnel;
pub mod rows;

//! order-service from outside: its domain cell by cell, and what must hold whatever comes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its case fails")]

mod given;
mod http;
mod limits;
mod properties;
mod transitions;
mod unit_of_work;

//! The projector's tests: the pure fold over shuffled sagas, and the same on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod http;
mod project;
mod reads;
mod run;
mod sagas;
mod view;

//! The projector's tests: the pure fold over shuffled sagas, and the same on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bulk;
mod consumers;
mod cost;
mod drift;
mod fill;
mod held;
mod http;
mod letter_groups;
mod order;
mod live;
mod overview;
mod page;
mod project;
mod reads;
mod rebuild;
mod run;
mod sagas;
mod send;
mod sales;
mod view;
mod watch;
mod why;

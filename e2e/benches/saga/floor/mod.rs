//! The floor: what the durable steps of a completed order cost with no logic at all, to be compared with what the
//! product takes for the same.
//!
//! One process, a thread for each of the four roles. Same rows (the product's own schema), same messages (the product's
//! samples, encoded by its own encoder), same order of steps; whoever writes a log makes one statement and one
//! flush a batch and publishes from memory, with the product's client settings. Nothing is decided, compared, cached, timed or recovered: no `append`, no
//! groups, no tasks, no holds, no relay that could find what a crash left.

mod story;
mod topics;
mod position;
mod place;
mod role;
mod view;
mod run;

pub(crate) use run::{Figures, Floor, run};
pub(crate) use story::Story;

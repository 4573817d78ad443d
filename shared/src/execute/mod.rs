//! The unit of work: a batch of all that can change state, decided in memory and appended in one call.
//!
//! A state machine without I/O. It returns the next read or append as a [`Step`] and takes the result; the shell in
//! [`crate::engine`] does the I/O. So a model of the database can run the same code.
//!
//! What it never does: append anything that was decided at another end of the log than the one it names, keep a
//! fold that a refused append made, or answer a command before the commit.

pub mod prepare;
pub mod step;
mod batch;
mod decide;
mod give_back;
mod letters;
mod machine;
mod processed;
mod read;

pub use machine::{Execute, ExecuteSettings};
pub use processed::Processed;
pub use step::{Fetch, Fetched, Input, Outcome, Step};

#[cfg(test)]
pub(crate) mod tests;

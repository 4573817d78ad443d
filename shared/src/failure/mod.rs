//! What goes wrong with a message, by class, and what becomes of it.
//!
//! Ask of every failure: would it be different next time? Infrastructure waits and never comes here. Everything
//! here is about one message: a dead letter with its bytes untouched, a hold on its key, or both.

pub mod brake;
pub mod holds;
pub mod letter;
pub mod poison;

/// After so many runs that took a message of a partition and did not live to finish one, its messages are taken one
/// by one.
pub const STARTS_MAX: i32 = 3;
/// A message that so many runs died of, taken alone, is a dead letter.
pub const ATTEMPTS_MAX: i32 = 3;
/// A letter that failed so often again is parked.
pub const REDRIVES_MAX: i32 = 3;

pub use brake::Brake;
pub use holds::{Holds, KeyHold};
pub use letter::{Failure, dead};
pub use poison::Poison;

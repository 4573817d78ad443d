//! What goes wrong with a message, by class, and what becomes of it.
//!
//! Ask of every failure: would it be different next time? Infrastructure waits and never comes here. Everything
//! here is about one message: a dead letter with its bytes untouched, a hold on its key, or both.

pub mod brake;
pub mod holds;
pub mod letter;

pub use brake::Brake;
pub use holds::{Holds, KeyHold};
pub use letter::{Failure, dead};

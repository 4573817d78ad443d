//! A second view, filled from the topics' beginning beside the one that serves, until the two change places.

mod following;
mod letters;
mod reader;
mod run;

pub use letters::Letters;
pub use run::{Rebuild, run};

//! Whether the view says what the topics say, while it serves: a sample of the orders of the whole, or of the last part, of their
//! topics is folded again, slowly and beside everything else, and compared at the same places.
//!
//! It changes nothing but the list of what it found. A rebuild mends.

mod sample;
mod walk;
mod round;
mod run;

pub use round::{Checked, Drift};
pub use run::run;

//! Whether everything adds up: the invariants of the system, checked over the logs, the topics and the provider's
//! books as they were loaded. The checks are pure, so that each can be shown to see what it is there for.
//!
//! 1 stock adds up; 2 an order has its goods and its money or neither; 3 every order ends once; 4 the provider's
//! books are ours; 5 the logs are whole and on their topics; 7 dead letters are what died, and all of it.

mod world;
mod load;
mod stock;
mod order;
mod payment;
mod log;
mod letter;
#[cfg(test)]
mod tests;

use serde::Serialize;
use shared::contract::envelope::Mode;

pub use load::{Sources, load, load_quiet};
pub use world::{ServiceLog, World};

/// How much may be asked of what was loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Nothing is under way: what is always true in the end must be true now.
    pub quiet: bool,
    /// How the services read.
    pub mode: Mode,
    /// How many dead letters there must be, where that is known.
    pub letters: Option<usize>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { quiet: false, mode: Mode::Development, letters: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    pub invariant: u8,
    /// An order, a sku, a stream, a letter.
    pub subject: String,
    pub detail: String,
}

/// What the numbers stand for.
pub const INVARIANTS: [(u8, &str); 6] = [
    (1, "stock adds up"),
    (2, "goods and money, or neither"),
    (3, "every order ends, once"),
    (4, "the provider's books are ours"),
    (5, "logs are whole and published"),
    (7, "dead letters are what died"),
];

/// All that is wrong, by invariant.
pub fn audit(world: &World, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    found.extend(stock::check(world));
    found.extend(order::check(world, rules));
    found.extend(payment::check(world, rules));
    found.extend(log::check(world, rules));
    found.extend(letter::check(world, rules));
    found.sort();
    found
}

fn violation(invariant: u8, subject: impl ToString, detail: impl Into<String>) -> Violation {
    Violation { invariant, subject: subject.to_string(), detail: detail.into() }
}

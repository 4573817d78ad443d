//! Whether everything adds up: the invariants of the system, checked over the logs, the topics and the provider's
//! books as they were loaded. The checks are pure, so that each can be shown to see what it is there for.
//!
//! 1 stock adds up; 2 an order has its goods and its money or neither; 3 every order ends once; 4 the provider's
//! books are ours; 5 the logs are whole and on their topics; 6 states are folds of their events, and the view is one of
//! the topics; 7 dead letters are what died, and all of it; 8 what clients were told is so.

mod world;
mod load;
mod stock;
mod order;
mod payment;
mod log;
mod fold;
mod view;
mod letter;
mod told;
mod conservation;
#[cfg(test)]
mod tests;

use serde::Serialize;
use shared::contract::envelope::Mode;

pub use conservation::Conservation;
pub use load::{Sources, load, load_quiet};
pub use told::{Answer, Asked, Told};
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
pub const INVARIANTS: [(u8, &str); 8] = [
    (1, "stock adds up"),
    (2, "goods and money, or neither"),
    (3, "every order ends, once"),
    (4, "the provider's books are ours"),
    (5, "logs are whole and published"),
    (6, "states and view are folds"),
    (7, "dead letters are what died"),
    (8, "clients were told the truth"),
];

/// All that is wrong, by invariant.
pub fn audit(world: &World, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    found.extend(stock::check(world));
    found.extend(order::check(world, rules));
    found.extend(payment::check(world, rules));
    found.extend(log::check(world, rules));
    found.extend(fold::check(world));
    found.extend(view::check(world, rules));
    found.extend(letter::check(world, rules));
    found.extend(told::check(world));
    found.sort();
    found
}

/// What an audit of a world compares for an invariant: so many of what. Nothing where there was nothing to look at.
pub fn compared(world: &World, invariant: u8) -> Vec<(&'static str, usize)> {
    let events = || world.services.iter().map(|log| log.events.len()).sum::<usize>();
    let of_logs = |count: fn(&ServiceLog) -> usize| world.services.iter().map(count).sum::<usize>();
    let compared = match invariant {
        1 => vec![("skus", world.stocks().len()), ("reservations", world.reservations().len())],
        2 | 3 => vec![("orders", world.orders().len())],
        4 => vec![
            ("payments", world.payments().len()),
            ("records of the provider", world.provider.as_ref().map_or(0, Vec::len)),
        ],
        5 => vec![
            ("positions", events()),
            ("streams", log::streams(world)),
            ("messages", world.messages.iter().filter(|raw| raw.topic.is_events()).count()),
        ],
        6 => vec![
            ("rows of the view", world.view.as_ref().map_or(0, view::rows)),
            ("snapshots", of_logs(|log| log.snapshots.len())),
        ],
        7 => {
            vec![("dead letters", of_logs(|log| log.letters.len())), ("held", of_logs(|log| log.held.len()))]
        }
        8 => vec![("answers", world.told.len())],
        _ => Vec::new(),
    };
    compared.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn violation(invariant: u8, subject: impl ToString, detail: impl Into<String>) -> Violation {
    Violation { invariant, subject: subject.to_string(), detail: detail.into() }
}

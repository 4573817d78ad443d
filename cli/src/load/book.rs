//! What is known of every order of a run: when it was due, what its sender was told, when it ended and was seen to have.
//!
//! Times are since the run began, so that an order is measured from when it was due and not from when a late sender
//! came to it (coordinated omission).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use uuid::Uuid;

use super::mix::Fate;

/// What its sender was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// Not yet, or the answer was lost: it may be there.
    #[default]
    Nothing,
    Accepted,
    /// Asked to come back later (503).
    Busy,
    Refused,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Settled,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) fate: Fate,
    pub(super) due: Duration,
    pub(super) told: Told,
    /// When the answer was there, over HTTP.
    pub(super) answered: Option<Duration>,
    /// When its last event was read from the topic.
    pub(super) ended: Option<(End, Duration)>,
    /// When the view was seen to have that event.
    pub(super) seen: Option<Duration>,
    /// It ended once more.
    pub(super) is_twice: bool,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    entries: Vec<Entry>,
    numbers: HashMap<Uuid, usize>,
    ended: usize,
}

impl Book {
    /// Before it is sent.
    pub(super) fn open(&self, order: Uuid, fate: Fate, due: Duration) {
        let mut pages = self.lock();
        let number = pages.entries.len();
        pages.numbers.insert(order, number);
        pages.entries.push(Entry {
            fate,
            due,
            told: Told::Nothing,
            answered: None,
            ended: None,
            seen: None,
            is_twice: false,
        });
    }

    pub(super) fn told(&self, order: Uuid, told: Told, answered: Option<Duration>) {
        self.change(order, |entry| {
            entry.told = told;
            entry.answered = answered;
        });
    }

    /// False where it is none of ours, or had ended before.
    pub(super) fn ended(&self, order: Uuid, end: End, at: Duration) -> bool {
        let mut pages = self.lock();
        let Some(number) = pages.numbers.get(&order).copied() else { return false };
        let entry = &mut pages.entries[number];
        if entry.ended.is_some() {
            entry.is_twice = true;
            return false;
        }
        entry.ended = Some((end, at));
        pages.ended += 1;
        true
    }

    pub(super) fn seen(&self, order: Uuid, at: Duration) {
        self.change(order, |entry| entry.seen = Some(at));
    }

    /// How many have ended.
    pub(super) fn count_ended(&self) -> usize {
        self.lock().ended
    }

    /// How many must end, or have, and how many of them have. What nobody heard of again may be there or not.
    pub(super) fn awaited(&self) -> (usize, usize) {
        let pages = self.lock();
        let counts =
            pages.entries.iter().filter(|entry| entry.told == Told::Accepted || entry.ended.is_some());
        (counts.count(), pages.ended)
    }

    /// In the order in which they were sent.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    fn change(&self, order: Uuid, change: impl FnOnce(&mut Entry)) {
        let mut pages = self.lock();
        if let Some(number) = pages.numbers.get(&order).copied() {
            change(&mut pages.entries[number]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        // Nothing panics while it is held; and if it did, the pages would still be whole.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_millis(5);

    #[test]
    fn an_order_ends_once_and_a_second_end_is_remembered() {
        let book = Book::default();
        let order = Uuid::from_u128(1);
        book.open(order, Fate::Completed, Duration::ZERO);
        assert_eq!(book.awaited(), (0, 0));
        book.told(order, Told::Accepted, Some(AT));
        assert_eq!(book.awaited(), (1, 0));
        assert!(book.ended(order, End::Completed, AT));
        assert!(!book.ended(order, End::Completed, AT));
        assert_eq!(book.awaited(), (1, 1));
        assert!(book.entries()[0].is_twice);
    }

    #[test]
    fn orders_of_others_are_not_counted_and_one_without_an_answer_that_ends_is() {
        let book = Book::default();
        assert!(!book.ended(Uuid::from_u128(2), End::Settled, AT));
        book.open(Uuid::from_u128(1), Fate::Declined, Duration::ZERO);
        assert!(book.ended(Uuid::from_u128(1), End::Settled, AT));
        assert_eq!(book.awaited(), (1, 1));
    }
}

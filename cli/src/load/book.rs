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
    #[default]
    Nothing,
    Accepted,
    /// Asked to come back later (503).
    Busy,
    Refused,
    /// No answer will come: it may be there or not.
    Lost,
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
    /// When the view was known to have that event.
    pub(super) seen: Option<Duration>,
    /// It ended once more, otherwise or later in its stream. The same event can come again.
    pub(super) is_twice: bool,
    /// Of its last event in its stream.
    pub(super) version: i64,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    entries: Vec<Entry>,
    numbers: HashMap<Uuid, usize>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) ended: usize,
    /// Accepted, or heard of: they end, or have.
    pub(super) awaited: usize,
    /// Neither ended nor given up.
    pub(super) under_way: usize,
}

impl Book {
    /// Before it is sent.
    pub(super) fn open(&self, order: Uuid, fate: Fate, due: Duration) {
        let mut pages = self.lock();
        let number = pages.entries.len();
        pages.numbers.insert(order, number);
        pages.counts.under_way += 1;
        pages.entries.push(Entry {
            fate,
            due,
            told: Told::Nothing,
            answered: None,
            ended: None,
            seen: None,
            is_twice: false,
            version: 0,
        });
    }

    /// The last word of its sender, once.
    pub(super) fn told(&self, order: Uuid, told: Told, answered: Option<Duration>) {
        let mut pages = self.lock();
        let Pages { entries, numbers, counts } = &mut *pages;
        let Some(entry) = numbers.get(&order).map(|number| &mut entries[*number]) else { return };
        entry.told = told;
        entry.answered = answered;
        if entry.ended.is_none() {
            match told {
                Told::Accepted => counts.awaited += 1,
                Told::Busy | Told::Refused | Told::Lost => counts.under_way -= 1,
                Told::Nothing => {}
            }
        }
    }

    /// False where it is none of ours, or had ended before.
    pub(super) fn ended(&self, order: Uuid, end: End, version: i64, at: Duration) -> bool {
        let mut pages = self.lock();
        let Pages { entries, numbers, counts } = &mut *pages;
        let Some(entry) = numbers.get(&order).map(|number| &mut entries[*number]) else { return false };
        if let Some((before, _)) = entry.ended {
            entry.is_twice |= (before, entry.version) != (end, version);
            return false;
        }
        entry.ended = Some((end, at));
        entry.version = version;
        counts.ended += 1;
        counts.awaited += usize::from(entry.told != Told::Accepted);
        counts.under_way -= usize::from(matches!(entry.told, Told::Nothing | Told::Accepted));
        true
    }

    pub(super) fn seen(&self, orders: &[Uuid], at: Duration) {
        let mut pages = self.lock();
        let Pages { entries, numbers, .. } = &mut *pages;
        for number in orders.iter().filter_map(|order| numbers.get(order)) {
            entries[*number].seen = Some(at);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// In the order in which they were sent.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        // Nothing panics while it is held; and if it did, the pages would still be whole.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    #[cfg(test)]
    pub(super) fn of(fate: Fate, due: Duration, told: Told, ended: Option<(End, Duration)>) -> Self {
        Self { fate, due, told, answered: None, ended, seen: None, is_twice: false, version: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_millis(5);

    fn counts(book: &Book) -> (usize, usize, usize) {
        let Counts { ended, awaited, under_way } = book.counts();
        (ended, awaited, under_way)
    }

    #[test]
    fn an_order_ends_once_and_another_end_is_remembered() {
        let book = Book::default();
        let order = Uuid::from_u128(1);
        book.open(order, Fate::Completed, Duration::ZERO);
        assert_eq!(counts(&book), (0, 0, 1));
        book.told(order, Told::Accepted, Some(AT));
        assert_eq!(counts(&book), (0, 1, 1));
        assert!(book.ended(order, End::Completed, 6, AT));
        assert_eq!(counts(&book), (1, 1, 0));
        assert!(!book.ended(order, End::Completed, 6, AT));
        assert!(!book.entries()[0].is_twice, "the same event may come again");
        assert!(!book.ended(order, End::Settled, 7, AT));
        assert!(book.entries()[0].is_twice);
        assert_eq!(counts(&book), (1, 1, 0));
    }

    #[test]
    fn what_is_given_up_leaves_room_and_counts_where_it_ends_all_the_same() {
        let book = Book::default();
        assert!(!book.ended(Uuid::from_u128(9), End::Settled, 1, AT), "of somebody else");
        for (number, told) in [(1, Told::Lost), (2, Told::Busy), (3, Told::Refused)] {
            book.open(Uuid::from_u128(number), Fate::Declined, Duration::ZERO);
            book.told(Uuid::from_u128(number), told, None);
        }
        assert_eq!(counts(&book), (0, 0, 0));
        assert!(book.ended(Uuid::from_u128(1), End::Settled, 5, AT));
        assert_eq!(counts(&book), (1, 1, 0));
        // Its end is heard before its answer.
        book.open(Uuid::from_u128(4), Fate::Completed, Duration::ZERO);
        assert!(book.ended(Uuid::from_u128(4), End::Completed, 6, AT));
        book.told(Uuid::from_u128(4), Told::Accepted, Some(AT));
        assert_eq!(counts(&book), (2, 2, 0));
    }
}

//! Entries that wait, with what they take of memory.

use std::collections::VecDeque;

use super::Entry;

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) entries: VecDeque<Entry>,
    pub(super) bytes: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn first(&self) -> Option<i64> {
        self.entries.front().map(|entry| entry.position)
    }

    pub(super) fn last(&self) -> Option<i64> {
        self.entries.back().map(|entry| entry.position)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn extend(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            self.bytes += entry.record.bytes();
            self.entries.push_back(entry);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.record.bytes();
        Some(entry)
    }
}

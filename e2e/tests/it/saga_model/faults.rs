//! What went wrong on purpose, and how often.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults(pub(crate) BTreeMap<&'static str, u64>);

impl Faults {
    pub(crate) const ALL: [&'static str; 21] = [
        "delivered again",
        "late by minutes",
        "crash",
        "down past the deadline",
        "database restored",
        "events published again",
        "too early, held",
        "answer lost with a crash",
        "provider silent",
        "provider late",
        "undoing refused",
        "answered again",
        "answered the opposite",
        "other content under one id",
        "adjustment refused",
        "order cancelled after its end",
        "task that was done already",
        "answered unasked",
        "callback",
        "event by hand",
        "what cannot be, after an event by hand",
    ];

    pub(super) fn count(&mut self, fault: &'static str) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(fault).or_default() += count;
        }
    }
}

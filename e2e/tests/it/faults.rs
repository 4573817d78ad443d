//! What went wrong on purpose in a model, by name, and how often.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults(BTreeMap<&'static str, u64>);

impl Faults {
    pub(crate) fn count(&mut self, fault: &'static str) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(fault).or_default() += count;
        }
    }

    /// Says how often each of a model's faults happened, and returns those that never did: such a run has not tried them.
    ///
    /// # Panics
    /// Where one happened that is not among them.
    pub(crate) fn tell(&self, all: &[&'static str]) -> Vec<&'static str> {
        for fault in all {
            println!("{fault:55}{:>12}", self.0.get(fault).unwrap_or(&0));
        }
        let unknown: Vec<_> = self.0.keys().filter(|fault| !all.contains(fault)).collect();
        assert!(unknown.is_empty(), "these faults are not in the model's list: {unknown:?}");
        all.iter().filter(|fault| !self.0.contains_key(*fault)).copied().collect()
    }
}

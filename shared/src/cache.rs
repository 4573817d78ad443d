//! What was used last, by key, bounded in number.

use std::hash::Hash;

use foldhash::HashMap;

/// Bounded by two generations: what is not used while the young one fills up is dropped with the old one.
pub struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation_max: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    /// Holds between `max / 2` and `max` of the values used last, and what one call of [`Cache::put_all`] adds.
    pub fn new(max: usize) -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), generation_max: (max / 2).max(1) }
    }

    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.put(key, value.clone());
        Some(value)
    }

    pub fn put(&mut self, key: K, value: V) {
        self.put_all([(key, value)]);
    }

    /// All of a batch before anything grows old, so that their order decides nothing.
    pub fn put_all(&mut self, values: impl IntoIterator<Item = (K, V)>) {
        for (key, value) in values {
            if !self.old.is_empty() {
                self.old.remove(&key);
            }
            self.young.insert(key, value);
        }
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// As [`Cache::put_all`] those that go on; the others are not kept.
    pub fn keep(&mut self, values: impl IntoIterator<Item = (K, V)>, goes_on: impl Fn(&K, &V) -> bool) {
        let (going_on, ended): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|(key, value)| goes_on(key, value));
        self.put_all(going_on);
        ended.iter().for_each(|(key, _)| self.remove(key));
    }

    pub fn size(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_kept_and_what_has_ended_is_gone() {
        let mut cache = Cache::new(10);
        cache.put_all([("a", 1), ("b", 1)]);
        cache.keep([("a", 2), ("b", 2), ("c", 2)], |key, _| *key == "a");
        assert_eq!(["a", "b", "c"].map(|key| cache.get(&key)), [Some(2), None, None]);
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let mut cache = Cache::new(10);
        for n in 0..100 {
            cache.put(n, n);
            assert_eq!(cache.get(&0), Some(0));
        }
        assert_eq!(cache.get(&50), None);
        assert!(cache.size() <= 10);
    }
}

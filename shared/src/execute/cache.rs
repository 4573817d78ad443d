//! Folded streams as of the end of the log that this process has seen. Right by construction: an append succeeds
//! only where every event before it was seen here, and events of others are folded before the next decision.

use std::collections::HashMap;

use crate::{contract::ids::StreamName, decider::Folded};

/// Bounded by two generations: what is not used while the young one fills up is dropped with the old one.
pub struct Cache<S> {
    young: HashMap<StreamName, Folded<S>>,
    old: HashMap<StreamName, Folded<S>>,
    generation_max: usize,
}

impl<S: Clone> Cache<S> {
    /// Holds between `streams_max / 2` and `streams_max` of the streams used last, and what one batch adds.
    pub fn new(streams_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_max: (streams_max / 2).max(1) }
    }

    pub fn get(&mut self, stream: &StreamName) -> Option<Folded<S>> {
        if let Some(folded) = self.young.get(stream) {
            return Some(folded.clone());
        }
        let folded = self.old.remove(stream)?;
        self.put(stream.clone(), folded.clone());
        Some(folded)
    }

    pub fn put(&mut self, stream: StreamName, folded: Folded<S>) {
        self.put_all([(stream, folded)]);
    }

    /// All of a batch before anything grows old, so that their order decides nothing.
    pub fn put_all(&mut self, streams: impl IntoIterator<Item = (StreamName, Folded<S>)>) {
        for (stream, folded) in streams {
            self.old.remove(&stream);
            self.young.insert(stream, folded);
        }
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
    }

    pub fn drop_stream(&mut self, stream: &StreamName) {
        self.young.remove(stream);
        self.old.remove(stream);
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
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let mut cache = Cache::new(10);
        let stream = |n: u32| StreamName::parse(&format!("stock-{n}")).unwrap();
        for n in 0..100 {
            cache.put(stream(n), Folded { version: i64::from(n), state: n });
            assert!(cache.get(&stream(0)).is_some_and(|folded| folded.state == 0));
        }
        assert!(cache.get(&stream(50)).is_none());
        assert!(cache.young.len() + cache.old.len() <= 10);
    }
}

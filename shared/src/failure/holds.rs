//! Which keys wait, as this process knows it for its partitions. A copy of what stands in the database, taken when
//! partitions are assigned and changed only by what this process appends.

use std::collections::HashMap;

use uuid::Uuid;

use crate::log::HoldKind;

/// What waits on one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyHold {
    /// The dead letter that everything later on this key waits for.
    pub letter: Option<Uuid>,
    pub too_early: usize,
    pub behind: usize,
    pub newer: usize,
}

impl KeyHold {
    /// Whether a message of this key must wait whatever it says. What is too early blocks only itself.
    pub fn blocks(&self) -> bool {
        self.letter.is_some() || self.behind > 0 || self.newer > 0
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn add(&mut self, kind: HoldKind) {
        *self.count(kind) += 1;
    }

    pub fn remove(&mut self, kind: HoldKind) {
        let count = self.count(kind);
        *count = count.saturating_sub(1);
    }

    fn count(&mut self, kind: HoldKind) -> &mut usize {
        match kind {
            HoldKind::TooEarly => &mut self.too_early,
            HoldKind::Behind => &mut self.behind,
            HoldKind::Newer => &mut self.newer,
        }
    }
}

/// Held keys of the partitions that this process owns.
#[derive(Debug, Clone, Default)]
pub struct Holds {
    keys: HashMap<String, KeyHold>,
}

impl Holds {
    pub fn get(&self, key: &str) -> KeyHold {
        self.keys.get(key).cloned().unwrap_or_default()
    }

    pub fn set(&mut self, key: String, hold: KeyHold) {
        if hold.is_empty() {
            self.keys.remove(&key);
        } else {
            self.keys.insert(key, hold);
        }
    }

    pub fn clear(&mut self) {
        self.keys.clear();
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

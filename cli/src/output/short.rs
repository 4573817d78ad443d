//! Ids that are short enough to read and long enough to say which.

use std::{collections::BTreeSet, ops::Bound};

/// The first group of a UUID; beyond it a time-ordered id of the same minute would read the same.
const CHARS_MIN: usize = 8;
const CHARS_TIME_ORDERED: usize = 13;

/// The start of an id that, as far as one id can tell, is its own.
pub fn short(id: &str) -> &str {
    let time_ordered = id.len() == 36 && id.as_bytes()[14] == b'7';
    let chars = if time_ordered { CHARS_TIME_ORDERED } else { CHARS_MIN };
    if id.len() == 36 { id.get(..chars).unwrap_or(id) } else { id }
}

/// Ids that are shown together: each as the shortest start that no other one of them has.
#[derive(Clone, Debug, Default)]
pub struct ShortIds {
    known: BTreeSet<String>,
}

impl ShortIds {
    pub fn new<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        Self { known: ids.into_iter().map(str::to_owned).collect() }
    }

    /// Ids that were added before are not printed anew, so only later ones give way.
    pub fn add(&mut self, id: &str) -> String {
        self.known.insert(id.to_owned());
        self.short(id)
    }

    pub fn short(&self, id: &str) -> String {
        let before = self.known.range::<str, _>((Bound::Unbounded, Bound::Excluded(id))).next_back();
        let after = self.known.range::<str, _>((Bound::Excluded(id), Bound::Unbounded)).next();
        let shared = before.into_iter().chain(after).map(|other| common(id, other)).max().unwrap_or(0);
        let chars = (shared + 1).max(CHARS_MIN).min(id.len());
        // A hyphen at the end says nothing.
        id.get(..chars).unwrap_or(id).trim_end_matches('-').to_owned()
    }
}

fn common(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_is_the_start_of_one_id_only() {
        let ids = [
            "0198f3c2-5a10-7c31-9d44-0a4be1c25f01",
            "0198f3c2-5a10-7c31-9d44-0a4be1c25f02",
            "0198f3c2-6b10-7c31-9d44-0a4be1c25f02",
            "5b8f6f1e-0d5c-4c0e-9a55-f0f111ed0001",
        ];
        let shown = ShortIds::new(ids);
        for id in ids {
            let short = shown.short(id);
            assert_eq!(ids.iter().filter(|other| other.starts_with(&short)).count(), 1, "{short}");
        }
        assert_eq!(shown.short(ids[3]), "5b8f6f1e");
        assert_eq!(shown.short(ids[2]), "0198f3c2-6");
    }

    #[test]
    fn alone_a_time_ordered_id_is_shown_with_its_milliseconds() {
        assert_eq!(short("0198f3c2-5a10-7c31-9d44-0a4be1c25f01"), "0198f3c2-5a10");
        assert_eq!(short("5b8f6f1e-0d5c-5c0e-9a55-f0f111ed0001"), "5b8f6f1e");
        assert_eq!(short("SKU-1"), "SKU-1");
    }
}

//! The letters that are meant, as the view lists them: who and whose, without their bytes.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde::Deserialize;
use shared::{
    contract::topics::{Key, Topic},
    failure::REDRIVES_MAX,
};
use uuid::Uuid;

use super::Verb;
use crate::{dlq::pick::FilterArgs, place::Place, service};

/// What is more is left for the next run, so that there is an end to what is kept of them.
pub(super) const LETTERS_MAX: usize = 100_000;

/// One of many, so it is small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) id: Uuid,
    pub(super) group: Arc<str>,
    /// What its message is about, and the hash of the key.
    pub(super) about: Option<(About, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum About {
    Order,
    Sku,
}

#[derive(Debug, Default)]
pub(super) struct Selection {
    /// Oldest first: what died first is tried first.
    pub(super) letters: Vec<Selected>,
    /// Of those that match, how many were redriven so often that they are left out.
    pub(super) parked: usize,
    /// There may be more than one run takes.
    pub(super) more: bool,
}

/// As `GET /dead-letters` lists it.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    id: Uuid,
    status: String,
    group: String,
    topic: String,
    key: Option<String>,
    code: String,
    fingerprint: String,
    redrives: i32,
}

pub(super) async fn select(verb: Verb, filter: &FilterArgs, place: &Place) -> anyhow::Result<Selection> {
    let mut selection = Selection::default();
    let mut groups: HashSet<Arc<str>> = HashSet::new();
    let mut listed = 0;
    let url = format!("{}/dead-letters", place.projector);
    let take = |letter: Listed| {
        listed += 1;
        if !filter.takes(
            &letter.group,
            &letter.code,
            &letter.fingerprint,
            &letter.topic,
            letter.key.as_deref(),
        ) {
            return;
        }
        // To give up what was redriven too often is just what is left to do with it.
        if verb == Verb::Redrive && (letter.status == "parked" || letter.redrives >= REDRIVES_MAX) {
            selection.parked += 1;
            return;
        }
        let group =
            groups.get(letter.group.as_str()).cloned().unwrap_or_else(|| letter.group.as_str().into());
        groups.insert(Arc::clone(&group));
        selection.letters.push(Selected { id: letter.id, group, about: about(&letter) });
    };
    service::each(&url, "dead_letters", &filter.query("open"), LETTERS_MAX, take).await?;
    selection.more = listed == LETTERS_MAX;
    selection.letters.reverse();
    Ok(selection)
}

fn about(letter: &Listed) -> Option<(About, u64)> {
    let about = match Topic::parse(&letter.topic)?.key() {
        Key::OrderId => About::Order,
        Key::Sku => About::Sku,
        Key::Original => return None,
    };
    Some((about, hash(letter.key.as_ref()?)))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Selected {
    /// Letters about the same have the same lane.
    pub(super) fn lane(&self, lanes: usize) -> usize {
        let hash = self.about.map_or_else(|| hash(&self.id), |(_, hash)| hash);
        (hash % lanes as u64) as usize
    }
}

impl Selection {
    /// How many different orders and skus they are about.
    pub(super) fn subjects(&self) -> (usize, usize) {
        let about: HashSet<_> = self.letters.iter().filter_map(|letter| letter.about).collect();
        let orders = about.iter().filter(|(about, _)| *about == About::Order).count();
        (orders, about.len() - orders)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn selected(id: u128) -> Selected {
        Selected { id: Uuid::from_u128(id), group: "order-service".into(), about: None }
    }

    #[test]
    fn letters_about_the_same_are_in_one_lane_and_count_once() {
        let listed = |id: u128, topic: &str, key: &str| {
            let text = |text: &str| text.to_owned();
            let letter = Listed {
                id: Uuid::from_u128(id),
                status: text("dead"),
                group: text("g"),
                topic: text(topic),
                key: Some(text(key)),
                code: text("c"),
                fingerprint: text("f"),
                redrives: 0,
            };
            Selected { about: about(&letter), ..selected(id) }
        };
        let letters = vec![
            listed(1, "orders.commands", "a"),
            listed(2, "payments.events", "a"),
            listed(3, "inventory.commands", "a"),
            listed(4, "orders.commands", "b"),
            listed(5, "dead-letters.commands", "a"),
        ];
        assert_eq!(letters[0].lane(8), letters[1].lane(8));
        let selection = Selection { letters, ..Selection::default() };
        assert_eq!(selection.subjects(), (2, 1));
    }
}

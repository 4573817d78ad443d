//! Invariant 7. Every dead letter is what died, byte for byte, and is on the topic; no good message is among them;
//! nothing waits behind a letter that is done with.

use std::collections::{HashMap, HashSet};

use shared::{
    contract::{
        dead_letter::{dead_letter_id, header},
        envelope::{Header, Headers, Mode, Raw, check_key, decode},
        message::Message,
        topics::Topic,
    },
    log::{HoldKind, Stage, StoredLetter},
};

use super::{Rules, ServiceLog, Violation, World, violation};
use crate::sighting::letter_status;

/// Malformed because of what came before it, which its bytes do not show: the rejections of that class.
const MALFORMED_BY_STATE: [&str; 3] = ["deadline-too-far", "idempotency-key-reused", "limit"];

pub(super) fn check(world: &World, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    let originals: HashMap<(Topic, i32, i64), &Raw> =
        world.messages.iter().map(|raw| ((raw.topic, raw.partition, raw.offset), raw)).collect();
    let mut on_topic: HashMap<String, &Raw> = HashMap::new();
    for raw in world.on(Topic::DeadLetters).filter(|raw| letter_status(raw).is_none()) {
        if let Some(id) = raw.headers.text(header::ID) {
            on_topic.entry(id.to_owned()).or_insert(raw);
        }
    }
    for log in &world.services {
        for letter in &log.letters {
            found.extend(of_letter(log, letter, &originals, &on_topic, rules));
        }
        found.extend(waits_for_nobody(log, rules));
    }
    let count: usize = world.services.iter().map(|log| log.letters.len()).sum();
    if rules.letters.is_some_and(|expected| expected != count) {
        let expected = rules.letters.unwrap_or_default();
        found.push(violation(7, "dead letters", format!("there are {count}, and {expected} must be")));
    }
    found
}

fn of_letter(
    log: &ServiceLog,
    stored: &StoredLetter,
    originals: &HashMap<(Topic, i32, i64), &Raw>,
    on_topic: &HashMap<String, &Raw>,
    rules: &Rules,
) -> Vec<Violation> {
    let (letter, raw) = (&stored.letter, &stored.letter.raw);
    let mut found = Vec::new();
    let mut wrong = |detail: String| found.push(violation(7, stored.letter_id, detail));
    let place = format!("{}[{}]@{}", raw.topic, raw.partition, raw.offset);
    if stored.letter_id != dead_letter_id(&letter.group, raw.topic.name(), raw.partition, raw.offset)
        || letter.group != log.service
    {
        wrong(format!("its id is not that of {} and {place}", log.service));
    }
    // Kept for a week only where it is a command.
    if let Some(original) = originals.get(&(raw.topic, raw.partition, raw.offset))
        && !same(original, raw)
    {
        wrong(format!("its bytes are not those of {place}"));
    }
    match on_topic.get(&stored.letter_id.to_string()) {
        Some(record) if record.value == raw.value && record.key == raw.key && keeps(record, raw) => {}
        Some(_) => wrong("on dead-letters it has other bytes".to_owned()),
        // The relay takes a moment.
        None if rules.quiet => wrong("is not on dead-letters".to_owned()),
        None => {}
    }
    if matches!(letter.stage, Stage::Decode | Stage::Validate)
        && is_good(raw, rules.mode)
        && !MALFORMED_BY_STATE.contains(&letter.code.as_str())
    {
        wrong(format!("{place} can be read: it is no {} ({})", letter.stage.as_str(), letter.code));
    }
    found
}

fn same(original: &Raw, letter: &Raw) -> bool {
    // A message that is too large is kept as hash, size and place.
    original.value == letter.value && original.key == letter.key && original.headers == letter.headers
        || letter.value.is_none() && original.value.as_ref().is_some_and(|value| value.len() > 512 * 1024)
}

/// Its own headers stand first on the record, in order.
fn keeps(record: &Raw, letter: &Raw) -> bool {
    let list = |headers: &Headers| -> Vec<Header> {
        match headers {
            Headers::Readable(headers) => headers.clone(),
            Headers::Unreadable => Vec::new(),
        }
    };
    list(&record.headers).starts_with(&list(&letter.headers))
}

fn is_good(raw: &Raw, mode: Mode) -> bool {
    let Ok(envelope) = decode(raw, mode) else { return false };
    let Some(Ok(message)) = Message::decode(&envelope.message_type, &envelope.data) else { return false };
    check_key(raw, &message).is_ok()
}

fn waits_for_nobody(log: &ServiceLog, rules: &Rules) -> Vec<Violation> {
    let open: HashSet<&str> = log
        .letters
        .iter()
        .filter(|letter| !letter.status.is_some_and(|status| status.is_end()))
        .filter_map(|letter| letter.letter.holds.as_ref().map(|(key, _)| key.as_str()))
        .collect();
    let stuck = log.held.iter().filter(|row| {
        rules.quiet && row.held.kind == HoldKind::Behind && !open.contains(row.held.key.as_str())
    });
    stuck
        .map(|row| {
            let raw = &row.held.raw;
            let place = format!("{}[{}]@{}", raw.topic, raw.partition, raw.offset);
            violation(7, &row.held.key, format!("{place} waits in {} behind no dead letter", log.service))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_rejection_that_is_malformed_is_known() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let sources: String = ["order-service", "inventory-service", "payment-service"]
            .map(|service| fs::read_to_string(root.join(service).join("src/domain.rs")).unwrap())
            .concat();
        let rejections = sources.split("Class::Malformed,").skip(1);
        let codes: BTreeSet<&str> = rejections.map(|rest| rest.split('"').nth(1).unwrap()).collect();
        assert_eq!(codes, BTreeSet::from(MALFORMED_BY_STATE));
    }
}

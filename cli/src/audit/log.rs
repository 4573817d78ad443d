//! Invariant 5. Positions are 1..n without a hole, versions of every stream likewise; every event is on its topic at
//! least once and unchanged, first appearances in stream order; and nothing is on a topic that no log has.

use std::collections::{HashMap, HashSet};

use shared::contract::{envelope::Recorded, ids::StreamName, message::Message, topics::Topic};

use super::{Rules, ServiceLog, Violation, World, violation, world::Read};

pub(super) fn check(world: &World, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    for log in &world.services {
        found.extend(gapless(log));
        found.extend(readable(log));
    }
    found.extend(published(world, rules));
    found
}

/// Keys that have an order of their own.
pub(super) fn streams(world: &World) -> usize {
    let streams: HashSet<&StreamName> =
        world.services.iter().flat_map(|log| &log.events).map(|event| &event.stream).collect();
    streams.len()
}

fn gapless(log: &ServiceLog) -> Vec<Violation> {
    let mut found = Vec::new();
    let (mut versions, mut ids) = (HashMap::<&StreamName, i64>::new(), HashSet::new());
    for (index, event) in log.events.iter().enumerate() {
        let wanted = index as i64 + 1;
        if event.position != wanted {
            found.push(violation(
                5,
                &log.service,
                format!("position {} where {wanted} is due", event.position),
            ));
            // One hole is one finding, not one for all that follow.
            break;
        }
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        if event.version != *version {
            let detail =
                format!("version {} at position {} where {version} is due", event.version, event.position);
            found.push(violation(5, &event.stream, detail));
            *version = event.version;
        }
        if !ids.insert(event.event_id) {
            found.push(violation(5, &event.stream, format!("event id {} a second time", event.event_id)));
        }
    }
    found
}

fn readable(log: &ServiceLog) -> Vec<Violation> {
    let unread = log.events.iter().filter_map(|event| {
        let detail = match Message::decode(&event.event_type, &event.data) {
            Some(Ok(message)) if Topic::of_category(event.stream.category()) == Some(message.topic()) => {
                return None;
            }
            Some(Ok(_)) => format!("{} does not belong into it", event.event_type),
            Some(Err(malformed)) => format!("{} cannot be read: {malformed}", event.event_type),
            None => format!("{} is not known to this build", event.event_type),
        };
        Some(violation(5, &event.stream, format!("position {}: {detail}", event.position)))
    });
    unread.collect()
}

fn published(world: &World, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    let logs: HashMap<&str, &ServiceLog> =
        world.services.iter().map(|log| (log.service.as_str(), log)).collect();
    let mut appeared: HashSet<(&str, i64)> = HashSet::new();
    let mut last: HashMap<(Topic, String), i64> = HashMap::new();
    for read in world.published() {
        let Some(position) = read.envelope.position else { continue };
        let service = read.envelope.source.strip_prefix("/fulfil/").unwrap_or_default();
        let Some((service, log)) = logs.get_key_value(service) else { continue };
        // What was appended after the log was read is on a topic that was read later.
        let Some(event) = usize::try_from(position - 1).ok().and_then(|index| log.events.get(index)) else {
            if rules.quiet {
                let detail =
                    format!("its topic has position {position}, its log ends at {}", log.events.len());
                found.push(violation(5, *service, detail));
            }
            continue;
        };
        if let Some(detail) = differs(event, &read) {
            found.push(violation(
                5,
                &event.stream,
                format!("position {position} on {}: {detail}", read.raw.topic),
            ));
            continue;
        }
        if appeared.insert((*service, position)) {
            let key = (read.raw.topic, event.stream.to_string());
            let before = last.insert(key, event.version).unwrap_or(0);
            if event.version <= before {
                let detail = format!("version {} first appears after version {before}", event.version);
                found.push(violation(5, &event.stream, detail));
            }
        }
    }
    for log in &world.services {
        let due = if rules.quiet { i64::MAX } else { log.published };
        let missing = log.events.iter().filter(|event| {
            event.position <= due && !appeared.contains(&(log.service.as_str(), event.position))
        });
        found.extend(missing.map(|event| {
            violation(
                5,
                &event.stream,
                format!("position {} of {} is not on its topic", event.position, log.service),
            )
        }));
    }
    found
}

fn differs(event: &Recorded, read: &Read<'_>) -> Option<String> {
    let envelope = &read.envelope;
    let is_key = read.raw.key.as_deref() == Some(event.stream.key().as_bytes());
    let what = match () {
        () if envelope.id != event.event_id => "another event id",
        () if envelope.message_type != event.event_type => "another type",
        () if envelope.sequence != Some(event.version) => "another version",
        () if envelope.data != event.data => "another payload",
        () if envelope.correlation_id != Some(event.correlation_id) => "another correlation",
        () if envelope.causation_id != Some(event.causation_id) => "another cause",
        () if !is_key => "another key",
        () if Topic::of_category(event.stream.category()) != Some(read.raw.topic) => {
            "another topic than its own"
        }
        () => return None,
    };
    Some(what.to_owned())
}

//! Invariant 6, the write side. The state of a stream is the fold of its events. Snapshots are the only states that
//! a database keeps: each of this build's fold must be that of the events up to its version.

use std::collections::HashMap;

use inventory_service::Inventory;
use order_service::Orders;
use payment_service::Payments;
use serde_json::Value;
use shared::{
    contract::{envelope::Recorded, ids::StreamName, message::Event},
    decider::{Decider, fold},
    log::Snapshot,
};

use super::{ServiceLog, Violation, World, violation};

/// The fingerprint of a service's fold in this build; `None` for one that folds no streams.
pub(super) fn fingerprint(service: &str) -> Option<&'static str> {
    match service {
        Orders::NAME => Some(Orders::FINGERPRINT),
        Inventory::NAME => Some(Inventory::FINGERPRINT),
        Payments::NAME => Some(Payments::FINGERPRINT),
        _ => None,
    }
}

pub(super) fn check(world: &World) -> Vec<Violation> {
    let of = |log: &ServiceLog| match log.service.as_str() {
        Orders::NAME => refold(&Orders::default(), log),
        Inventory::NAME => refold(&Inventory, log),
        Payments::NAME => refold(&Payments::default(), log),
        _ => Vec::new(),
    };
    world.services.iter().flat_map(of).collect()
}

fn refold<D: Decider>(decider: &D, log: &ServiceLog) -> Vec<Violation> {
    if log.snapshots.is_empty() {
        return Vec::new();
    }
    let mut streams: HashMap<&StreamName, Vec<&Recorded>> = HashMap::new();
    for event in &log.events {
        streams.entry(&event.stream).or_default().push(event);
    }
    let ours = log.snapshots.iter().filter(|snapshot| snapshot.fingerprint == D::FINGERPRINT);
    ours.filter_map(|snapshot| {
        let events = streams.get(&snapshot.stream).map(Vec::as_slice).unwrap_or_default();
        let detail = differs(decider, snapshot, events)?;
        Some(violation(6, &snapshot.stream, format!("its snapshot at version {} {detail}", snapshot.version)))
    })
    .collect()
}

fn differs<D: Decider>(decider: &D, snapshot: &Snapshot, events: &[&Recorded]) -> Option<String> {
    let known = events.last().map_or(0, |event| event.version);
    if snapshot.version > known {
        return Some(format!("is ahead of its events, which end at {known}"));
    }
    let Ok(stored) = serde_json::from_str::<D::State>(&snapshot.state) else {
        return Some(format!("cannot be read: {}", snapshot.state));
    };
    let mut state = D::State::default();
    for recorded in events.iter().filter(|event| event.version <= snapshot.version) {
        // Said by invariant 5 where it does not read.
        let event = D::Event::decode(&recorded.event_type, &recorded.data)?.ok()?;
        state = fold(decider, state, [&event]);
    }
    let (stored, folded) = (json(&stored), json(&state));
    (stored != folded).then(|| format!("is {stored}, and its events make {folded}"))
}

fn json(state: &impl serde::Serialize) -> Value {
    serde_json::to_value(state).unwrap_or_default()
}

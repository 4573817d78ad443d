//! Snapshots, against the events that they are the fold of.

use shared::{contract::ids::StreamName, log::Snapshot};

use super::{QUIET, broken, world};
use crate::audit::{World, audit};

/// The stock of the world is 10 received, 1 allocated, 1 shipped, 1 allocated, 1 deallocated.
fn with_snapshot(version: i64, fingerprint: &str, state: &str) -> World {
    let mut world = world();
    world.log_mut("inventory-service").snapshots.push(Snapshot {
        stream: StreamName::parse("stock-A").unwrap(),
        version,
        fingerprint: fingerprint.to_owned(),
        state: state.to_owned(),
    });
    world
}

#[test]
fn a_snapshot_that_is_the_fold_of_the_events_below_it_is_right() {
    let world = with_snapshot(2, "inventory-1", r#"{"Stock":{"on_hand":10,"reserved":1}}"#);
    assert_eq!(audit(&world, &QUIET), []);
}

#[test]
fn a_snapshot_that_its_events_do_not_make_is_seen() {
    let world = with_snapshot(3, "inventory-1", r#"{"Stock":{"on_hand":10,"reserved":1}}"#);
    let found = broken(&world, 6, "stock-A");
    let detail = &found[0].detail;
    assert!(detail.contains(r#""on_hand":10"#) && detail.contains(r#""on_hand":9"#), "{detail}");
}

#[test]
fn a_snapshot_ahead_of_its_events_and_one_that_does_not_read_are_seen() {
    broken(&with_snapshot(99, "inventory-1", r#"{"Stock":{"on_hand":9,"reserved":0}}"#), 6, "stock-A");
    broken(&with_snapshot(2, "inventory-1", "{}"), 6, "stock-A");
}

#[test]
fn a_snapshot_of_another_fold_says_nothing() {
    assert_eq!(audit(&with_snapshot(2, "inventory-0", "{}"), &QUIET), []);
}

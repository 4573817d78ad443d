//! Streams that are not cached: those that begin, and those that have ended.

use super::*;
use crate::{contract::ids::StreamName, log::StoreError};

#[test]
fn what_is_not_cached_is_taken_for_new_where_the_last_was_and_looked_for_where_it_was_not() {
    let mut world = World::new();
    let reads = |world: &mut World, messages: Vec<Raw>| {
        let mut reads = Vec::new();
        let mut step = world.execute.begin(messages.into_iter().map(Input::Message).collect(), now());
        loop {
            step = match step {
                Step::Load(load) => {
                    reads.push("load");
                    world.execute.loaded(world.model.load(&load))
                }
                Step::Append(append) => match world.model.append(&append, now()) {
                    Ok(appended) => world.execute.appended(&appended),
                    Err(StoreError::VersionTaken(_)) => {
                        reads.push("taken");
                        world.execute.known_after_all().unwrap()
                    }
                    Err(error) => panic!("{error}"),
                },
                Step::Done(_) => return reads,
                _ => panic!("not expected"),
            }
        }
    };
    let creates: Vec<Raw> = (1..=3).map(|number| world.create(order(number))).collect();
    let [first, second, third] = creates.try_into().unwrap();
    assert_eq!(reads(&mut world, vec![first]), ["load"], "nobody has looked yet");
    assert!(reads(&mut world, vec![second]).is_empty(), "the last was new");
    let again = world.create(order(1));
    world.execute.forget();
    assert_eq!(reads(&mut world, vec![again]), ["taken", "load"], "it is known after all");
    assert_eq!(reads(&mut world, vec![third]), ["load"], "the last was known");
    let both = vec![world.create(order(4)), world.authorized(order(9))];
    assert_eq!(reads(&mut world, both), ["load"], "one begins nothing, so the log must say that it has none");
    assert_eq!(world.types(), ["created", "created", "created", "created"]);
    assert_eq!(world.model.held.len(), 1);
}

#[test]
fn what_has_ended_is_not_kept_and_is_read_for_who_asks_for_it() {
    let mut world = World::new();
    let [create, other, cancel] = [world.create(order(1)), world.create(order(2)), world.cancel(order(1))];
    world.take(vec![create, other]);
    world.take(vec![cancel]);
    assert!(world.execute.cache.get(&StreamName::order(order(1))).is_none());
    assert!(world.execute.cache.get(&StreamName::order(order(2))).is_some());
    let late = world.authorized(order(1));
    world.take(vec![late]);
    assert_eq!(world.letter_ids().len(), 1, "no cancelled order is authorized");
}

#[test]
fn a_version_that_is_taken_is_a_bug_where_nothing_was_taken_for_new() {
    let mut world = World::new();
    let (create, cancel) = (world.create(order(1)), world.cancel(order(1)));
    world.take(vec![create]);
    assert!(matches!(world.execute.begin(vec![Input::Message(cancel)], now()), Step::Append(_)));
    assert!(world.execute.known_after_all().is_none());
}

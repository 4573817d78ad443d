use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::*;
use crate::contract::topics::Topic;

const LIMITS: Limits = Limits {
    in_flight_max: 4,
    in_flight_bytes_max: 1_000,
    pending_max: 6,
    pending_bytes_max: 1_000,
    read_max: 3,
};

fn entry(position: i64) -> Entry {
    let record = Record {
        topic: Topic::OrdersEvents,
        key: Some(format!("key {}", position % 3).into()),
        value: Some(position.to_string().into()),
        headers: Vec::new(),
        instead_of_key: uuid::Uuid::nil(),
    };
    Entry { position, recorded_at: Timestamp::UNIX_EPOCH, record }
}

fn entries(positions: impl IntoIterator<Item = i64>) -> Vec<Entry> {
    positions.into_iter().map(entry).collect()
}

fn publish(positions: impl IntoIterator<Item = i64>) -> Output {
    Output::Publish(entries(positions))
}

/// A leader with a producer that has looked and found nothing after `cursor`.
fn leader(cursor: i64) -> Machine {
    let mut machine = Machine::new(LIMITS);
    assert_eq!(machine.step(Input::Led { cursor }), [Output::Rebuild]);
    assert_eq!(machine.step(Input::Rebuilt), [Output::Read { after: cursor, limit: 3 }]);
    assert_eq!(machine.step(Input::ReadDone(vec![])), []);
    machine
}

#[test]
fn what_is_committed_leaves_from_memory() {
    let mut machine = leader(7);
    assert_eq!(machine.step(Input::Committed(entries([8, 9]))), [publish([8, 9])]);
    assert_eq!(machine.step(Input::Committed(entries([10]))), [publish([10])]);
    assert_eq!(machine.backlog(), Some(3));
}

#[test]
fn a_new_leader_reads_on_from_the_cursor() {
    let mut machine = Machine::new(LIMITS);
    machine.step(Input::Led { cursor: 2 });
    machine.step(Input::Rebuilt);
    assert_eq!(
        machine.step(Input::ReadDone(entries([3, 4, 5]))),
        [publish([3, 4, 5]), Output::Read { after: 5, limit: 3 }]
    );
    assert_eq!(machine.step(Input::ReadDone(entries([6]))), [publish([6])]);
}

#[test]
fn the_cursor_moves_only_past_what_was_acknowledged_without_a_hole() {
    let mut machine = leader(0);
    machine.step(Input::Committed(entries([1, 2, 3])));
    machine.step(Input::Acked(vec![3, 2]));
    assert_eq!(machine.step(Input::Save), []);
    machine.step(Input::Acked(vec![1]));
    assert_eq!(machine.step(Input::Save), [Output::SaveCursor(3)]);
    assert_eq!(machine.step(Input::Save), [], "one at a time");
    assert!(!machine.is_idle());
    machine.step(Input::CursorSaved(3));
    assert!(machine.is_idle());
}

#[test]
fn a_hole_in_memory_is_read_from_the_table_and_joined() {
    let mut machine = leader(0);
    assert_eq!(machine.step(Input::Committed(entries([3, 4]))), [Output::Read { after: 0, limit: 3 }]);
    assert_eq!(machine.step(Input::Committed(entries([5]))), []);
    let outputs = machine.step(Input::ReadDone(entries([1, 2, 3])));
    assert_eq!(outputs, [publish([1, 2, 3, 4])]);
    assert_eq!(machine.step(Input::Acked(vec![1, 2])), [publish([5]), Output::Read { after: 5, limit: 3 }]);
}

/// Two batches of this process lay in its inbox, and between them another replica committed.
#[test]
fn what_others_committed_in_between_is_read_from_the_table() {
    let mut machine = leader(0);
    let outputs = machine.step(Input::Committed(entries([1, 2, 5, 6, 9])));
    assert_eq!(outputs, [publish([1, 2]), Output::Read { after: 2, limit: 3 }]);
    let outputs = machine.step(Input::ReadDone(entries([3, 4, 5])));
    assert_eq!(outputs, [publish([3, 4])]);
    assert_eq!(machine.halted(), None);
}

#[test]
fn what_memory_repeats_is_skipped() {
    let mut machine = leader(5);
    assert_eq!(machine.step(Input::Committed(entries([4, 5, 6]))), [publish([6])]);
    assert_eq!(machine.step(Input::Committed(entries([6]))), []);
}

#[test]
fn what_is_in_flight_is_bounded_in_messages_and_bytes() {
    let mut machine = leader(0);
    assert_eq!(machine.step(Input::Committed(entries(1..=6))), [publish(1..=4)]);
    assert_eq!(machine.step(Input::Acked(vec![4, 2])), []);
    assert_eq!(machine.step(Input::Acked(vec![1])), [publish([5, 6])]);

    let mut machine = leader(0);
    let large = |position| {
        let mut entry = entry(position);
        entry.record.value = Some(vec![0; 900].into());
        entry
    };
    let outputs = machine.step(Input::Committed(vec![large(1), large(2), large(3)]));
    assert_eq!(outputs, [Output::Publish(vec![large(1), large(2)])]);
}

#[test]
fn what_does_not_fit_in_memory_is_read_later() {
    let mut machine = leader(0);
    machine.step(Input::Committed(entries(1..=6)));
    assert_eq!(machine.step(Input::Committed(entries(7..=12))), []);
    assert_eq!(machine.backlog(), Some(12));
    let outputs = machine.step(Input::Acked(vec![1, 2, 3, 4]));
    assert_eq!(outputs, [publish([5, 6]), Output::Read { after: 6, limit: 3 }]);
}

#[test]
fn after_a_failed_delivery_all_starts_again_from_the_last_acknowledged() {
    let mut machine = leader(0);
    machine.step(Input::Committed(entries([1, 2, 3])));
    machine.step(Input::Acked(vec![1, 3]));
    assert_eq!(machine.step(Input::ProducerFailed), [Output::Rebuild]);
    assert_eq!(machine.step(Input::Acked(vec![2])), [], "of the producer that was thrown away");
    assert_eq!(machine.step(Input::Rebuilt), [Output::Read { after: 1, limit: 3 }]);
    assert_eq!(machine.step(Input::ReadDone(entries([2, 3]))), [publish([2, 3])]);
}

#[test]
fn a_read_that_was_under_way_at_a_failure_is_read_again() {
    let mut machine = leader(0);
    assert_eq!(machine.step(Input::Look), [Output::Read { after: 0, limit: 3 }]);
    machine.step(Input::Committed(entries([1])));
    machine.step(Input::ProducerFailed);
    assert_eq!(machine.step(Input::Rebuilt), []);
    assert_eq!(machine.step(Input::ReadDone(entries([1, 2]))), [Output::Read { after: 0, limit: 3 }]);
}

#[test]
fn who_lost_the_lead_publishes_nothing() {
    let mut machine = leader(0);
    machine.step(Input::Committed(entries([1])));
    assert_eq!(machine.step(Input::LeadLost), [Output::Discard]);
    for input in
        [Input::Committed(entries([2])), Input::Look, Input::Acked(vec![1]), Input::Save, Input::Rebuilt]
    {
        assert_eq!(machine.step(input), []);
    }
    assert_eq!(machine.step(Input::Led { cursor: 1 }), [Output::Rebuild]);
    assert_eq!(machine.step(Input::Rebuilt), [Output::Read { after: 1, limit: 3 }]);
}

fn halts(machine: &mut Machine, input: Input, says: &str) {
    let outputs = machine.step(input);
    let [Output::Halt(reason)] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert!(reason.contains(says), "{reason}");
    assert_eq!(machine.halted(), Some(reason.as_str()));
    assert_eq!(machine.step(Input::Look), []);
}

#[test]
fn it_halts_where_a_position_is_missing() {
    let mut machine = leader(4);
    machine.step(Input::Look);
    halts(&mut machine, Input::ReadDone(entries([6])), "5 is missing");

    let mut machine = leader(4);
    machine.step(Input::Look);
    halts(&mut machine, Input::ReadDone(entries([5, 7])), "6 is missing");

    halts(&mut leader(4), Input::Committed(entries([6, 5])), "7 is missing");
}

#[test]
fn it_halts_where_the_table_lost_what_was_committed() {
    let mut machine = leader(4);
    machine.step(Input::End(8));
    halts(&mut machine, Input::ReadDone(entries([5])), "ends at 5, but 8");
}

#[test]
fn it_halts_at_an_acknowledgement_of_what_was_not_published() {
    halts(&mut leader(4), Input::Acked(vec![6]), "6 was acknowledged");
}

#[test]
fn it_halts_at_a_message_that_no_broker_takes() {
    let mut machine = leader(0);
    machine.step(Input::Committed(entries([1])));
    halts(&mut machine, Input::CannotGoOn("1 is too large".into()), "1 is too large");
}

/// Two relays of one database, one broker, in random order; see [`World::run`].
struct World {
    rng: StdRng,
    log: i64,
    cursor: i64,
    /// What the broker took, in order.
    topic: Vec<i64>,
    relays: [Relay; 2],
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    failures: usize,
    crashes: usize,
    takeovers: usize,
    zombie_messages: usize,
    repeats: usize,
    unheard: usize,
    holes: usize,
}

struct Relay {
    machine: Machine,
    /// Committed by its process, and not yet taken.
    inbox: Vec<Entry>,
    rebuild: bool,
    read: Option<(i64, usize)>,
    save: Option<i64>,
    producer: Producer,
    /// Producers that were thrown away. What they had sent may still arrive.
    old: Vec<Producer>,
}

/// Keeps the order of each key, as an idempotent producer does; keys overtake each other.
#[derive(Default)]
struct Producer {
    given: Vec<i64>,
    /// Taken by the broker, not yet told.
    acks: Vec<i64>,
}

impl Producer {
    /// The broker takes the oldest message of some key.
    fn deliver(&mut self, rng: &mut StdRng) -> Option<i64> {
        let key = self.given.choose(rng)? % 3;
        let index = self.given.iter().position(|position| position % 3 == key)?;
        Some(self.given.remove(index))
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let relay = || Relay {
            machine: Machine::new(LIMITS),
            inbox: Vec::new(),
            rebuild: false,
            read: None,
            save: None,
            producer: Producer::default(),
            old: Vec::new(),
        };
        Self {
            rng: StdRng::seed_from_u64(seed),
            log: 0,
            cursor: 0,
            topic: Vec::new(),
            relays: [relay(), relay()],
            seen: Seen::default(),
        }
    }

    fn input(&mut self, who: usize, input: Input) {
        for output in self.relays[who].machine.step(input) {
            let relay = &mut self.relays[who];
            match output {
                Output::Read { after, limit } => assert_eq!(relay.read.replace((after, limit)), None),
                Output::SaveCursor(cursor) => assert_eq!(relay.save.replace(cursor), None),
                Output::Publish(entries) => {
                    assert!(!relay.rebuild, "published without a producer");
                    relay.producer.given.extend(entries.iter().map(|entry| entry.position));
                    assert!(relay.producer.given.len() <= LIMITS.in_flight_max);
                }
                Output::Rebuild | Output::Discard => {
                    relay.rebuild = output == Output::Rebuild;
                    let producer = std::mem::take(&mut relay.producer);
                    relay.old.push(producer);
                }
                Output::Halt(reason) => panic!("halted: {reason}"),
            }
        }
    }

    /// A session that ended answers nothing any more.
    fn lose_lead(&mut self, who: usize) {
        self.relays[who].inbox.clear();
        self.relays[who].read = None;
        self.relays[who].save = None;
        self.input(who, Input::LeadLost);
        self.relays[who].rebuild = false;
    }

    fn step(&mut self) {
        let who = self.rng.random_range(0..2);
        match self.rng.random_range(0..100) {
            0..20 => {
                let count = self.rng.random_range(1..=8);
                let committed = entries(self.log + 1..=self.log + count);
                self.log += count;
                // A full inbox: the relay is not told.
                if self.rng.random_ratio(1, 10) {
                    self.seen.unheard += 1;
                } else {
                    self.relays[who].inbox.extend(committed);
                }
                // Several batches can lie there, with those of the other in between.
                if self.rng.random() {
                    let inbox = std::mem::take(&mut self.relays[who].inbox);
                    let hole = inbox.windows(2).any(|pair| pair[0].position + 1 != pair[1].position);
                    self.seen.holes += usize::from(hole);
                    self.input(who, Input::Committed(inbox));
                }
            }
            20..40 => self.take(who),
            40..55 => {
                // Some of what the broker took is told, in any order.
                let relay = &mut self.relays[who];
                let count = self.rng.random_range(0..=relay.producer.acks.len());
                let acks = (0..count).map(|_| {
                    let index = self.rng.random_range(0..relay.producer.acks.len());
                    relay.producer.acks.swap_remove(index)
                });
                let acks = acks.collect();
                self.input(who, Input::Acked(acks));
            }
            55..70 => self.database(who),
            70..80 if self.relays[who].rebuild => {
                self.relays[who].rebuild = false;
                self.input(who, Input::Rebuilt);
            }
            80..84 => self.input(who, Input::Look),
            84..88 => self.input(who, Input::Save),
            88..90 => self.input(who, Input::End(self.log)),
            90..93 if !self.relays[who].producer.given.is_empty() => {
                self.seen.failures += 1;
                self.input(who, Input::ProducerFailed);
            }
            93..95 => {
                self.seen.takeovers += 1;
                self.hand_over(who);
            }
            95 => {
                self.seen.crashes += 1;
                let sent = std::mem::take(&mut self.relays[who].producer);
                self.relays[who].old.push(sent);
                let old = std::mem::take(&mut self.relays[who].old);
                self.relays[who] = Relay {
                    machine: Machine::new(LIMITS),
                    inbox: Vec::new(),
                    rebuild: false,
                    read: None,
                    save: None,
                    producer: Producer::default(),
                    old,
                };
            }
            _ => {}
        }
    }

    /// The lock goes to one of the two: whoever had it has lost its session.
    fn hand_over(&mut self, who: usize) {
        for other in 0..2 {
            if self.relays[other].machine.leads() {
                self.lose_lead(other);
            }
        }
        self.input(who, Input::Led { cursor: self.cursor });
    }

    /// The broker takes a message of the present producer or, late, of one that was thrown away.
    fn take(&mut self, who: usize) {
        let (relay, rng) = (&mut self.relays[who], &mut self.rng);
        let late = !relay.old.is_empty() && rng.random_ratio(1, 5);
        let producer = if late {
            let index = rng.random_range(0..relay.old.len());
            &mut relay.old[index]
        } else {
            &mut relay.producer
        };
        let Some(position) = producer.deliver(rng) else { return };
        producer.acks.push(position);
        self.seen.zombie_messages += usize::from(late);
        self.seen.repeats += usize::from(self.topic.contains(&position));
        self.topic.push(position);
    }

    fn database(&mut self, who: usize) {
        if let Some((after, limit)) = self.relays[who].read.take() {
            let last = self.log.min(after + limit as i64);
            self.input(who, Input::ReadDone(entries(after + 1..=last)));
        }
        if let Some(cursor) = self.relays[who].save.take() {
            assert!(cursor >= self.cursor, "the cursor went back");
            self.cursor = cursor;
            self.input(who, Input::CursorSaved(cursor));
        }
    }

    fn check(&self) {
        for position in 1..=self.cursor {
            assert!(
                self.topic.contains(&position),
                "{position} is before the cursor and was never published"
            );
        }
        for key in 0..3 {
            let mut first = Vec::new();
            for position in self.topic.iter().filter(|position| **position % 3 == key) {
                if !first.contains(position) {
                    first.push(*position);
                }
            }
            assert!(first.is_sorted(), "first appearances out of order: {first:?}");
            let next = first.last().copied().unwrap_or_default();
            let all = (1..=next).filter(|position| position % 3 == key).count();
            assert_eq!(first.len(), all, "one is missing before {next}");
        }
    }

    /// Faults for a while, then none until it is quiet; then everything is there.
    fn run(mut self) -> Seen {
        for step in 0..400 {
            self.step();
            if step % 16 == 0 {
                self.check();
            }
        }
        self.hand_over(0);
        for _ in 0..10_000 {
            if self.cursor == self.log && self.relays[0].machine.is_idle() {
                break;
            }
            if std::mem::take(&mut self.relays[0].rebuild) {
                self.input(0, Input::Rebuilt);
            }
            while let Some(position) = self.relays[0].producer.deliver(&mut self.rng) {
                self.topic.push(position);
                self.input(0, Input::Acked(vec![position]));
            }
            self.database(0);
            self.input(0, Input::Save);
        }
        assert_eq!(self.cursor, self.log, "it did not come to an end");
        assert_eq!(self.relays[0].machine.backlog(), Some(0));
        self.check();
        self.seen
    }
}

#[test]
fn whatever_fails_nothing_is_lost_and_first_appearances_are_in_order() {
    let mut seen = Seen::default();
    let seeds = std::env::var("FULFIL_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in seeds.map_or(0..1_000_u64, |seed: u64| seed..seed + 1) {
        let run = std::panic::catch_unwind(|| World::new(seed).run());
        let run = run.unwrap_or_else(|_| panic!("FULFIL_SEED={seed} fails"));
        seen.failures += run.failures;
        seen.crashes += run.crashes;
        seen.takeovers += run.takeovers;
        seen.zombie_messages += run.zombie_messages;
        seen.repeats += run.repeats;
        seen.unheard += run.unheard;
        seen.holes += run.holes;
    }
    let Seen { failures, crashes, takeovers, zombie_messages, repeats, unheard, holes } = seen;
    let faults = [failures, crashes, takeovers, zombie_messages, repeats, unheard, holes];
    assert!(
        seeds.is_some() || faults.iter().all(|count| *count > 100),
        "some fault hardly happened: {seen:?}"
    );
}

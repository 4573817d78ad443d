//! The model of the database that the simulation stands on answers as Postgres does: the same calls to both, drawn from
//! a seed, many of them stale, repeated or wrong.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use shared::{
    log::{
        Begun, DoneTask, DueTasks, Held, HeldRow, HoldKind, Letter, LetterChange, LetterRecord, LetterStatus,
        Move, Stage, StoreError,
    },
    testing::store::Store,
};

use super::*;

const SEEDS: u64 = 12;
const CALLS: usize = 60;
const KEYS: [&str; 2] = ["a", "b"];

/// A call, with what is held named by offset: ids are the database's own.
#[derive(Clone)]
struct Call {
    append: Append,
    unheld: Vec<i64>,
}

fn of_kind(rng: &mut SmallRng) -> HoldKind {
    [HoldKind::TooEarly, HoldKind::Behind, HoldKind::Newer][rng.random_range(0..3)]
}

fn owned(rng: &mut SmallRng) -> OwnedTask {
    let key = KEYS[rng.random_range(0..2)];
    let (stream, kind) = (stream(&format!("hold-{key}")), ["release", "call"][rng.random_range(0..2)]);
    let task = Task {
        id: shared::task::task_id(&stream, kind),
        stream,
        kind: kind.to_owned(),
        due_at: time(rng.random_range(0..3)),
        attempt: rng.random_range(1..3),
        cause: Uuid::from_u128(rng.random_range(0..2)),
        traceparent: rng.random::<bool>().then(|| "00-1-2-01".to_owned()),
    };
    OwnedTask { task, partition: rng.random_range(0..2) }
}

fn letter(rng: &mut SmallRng) -> LetterRecord {
    let letter_id = Uuid::from_u128(rng.random_range(0..3));
    let statuses =
        [LetterStatus::Redriven, LetterStatus::FailedAgain, LetterStatus::Discarded, LetterStatus::Parked];
    let what = if rng.random() {
        LetterChange::Dead(Box::new(Letter {
            group: "group".into(),
            raw: raw(letter_id.as_u128() as i64),
            stage: Stage::Decide,
            code: "code".into(),
            message: "message".into(),
            fingerprint: "fingerprint".into(),
            delivery_count: 1,
            build: "build".into(),
            holds: rng.random_bool(0.7).then(|| (KEYS[rng.random_range(0..2)].to_owned(), 1)),
        }))
    } else {
        let status = statuses[rng.random_range(0..4)];
        LetterChange::Status { status, by: "me".into(), reason: "reason".into(), mended: None }
    };
    LetterRecord { letter_id, recorded_at: time(rng.random_range(0..9)), what }
}

/// What somebody might ask, who may have seen less than there is, more, or something else.
fn call(rng: &mut SmallRng, store: &Store) -> Call {
    let seen = (store.end() + [0, 0, 0, 0, -1, -2, 1][rng.random_range(0..7)]).max(0);
    let stands = |seen: i64| store.log.get((seen - 1) as usize).map(|event| event.event_id);
    let mut append = Append { seen, seen_event: stands(seen).filter(|_| rng.random()), ..Append::default() };
    if rng.random_ratio(1, 15) {
        append.seen_event = Some(Uuid::from_u128(77));
    }
    for index in 0..[0, 0, 1, 3][rng.random_range(0..4)] {
        let name = ["order-a", "order-b", "stock-c"].choose(rng).unwrap();
        let known = store.stream(&stream(name), 0).len() as i64;
        let before = append.events.iter().filter(|event| event.stream.as_str() == *name).count() as i64;
        append.events.push(event(seen + index + 1, name, known + before + 1));
    }
    for topic in [Topic::PaymentsEvents, Topic::OrdersCommands] {
        if rng.random_ratio(2, 5) {
            let from = store.positions.get(&(topic, 2)).copied();
            let from = if rng.random_ratio(1, 8) { Some(rng.random_range(0..4)) } else { from };
            let to = from.unwrap_or(0) + rng.random_range(0..3);
            append.moves.push(Move { topic, partition: 2, from, to });
        }
    }
    for _ in 0..[0, 0, 1, 2][rng.random_range(0..4)] {
        let (key, kind) = (KEYS[rng.random_range(0..2)].to_owned(), of_kind(rng));
        append.held.push(Held {
            key,
            key_partition: 1,
            kind,
            raw: raw(rng.random_range(0..12)),
            held_at: time(1),
        });
    }
    let mut unheld = Vec::new();
    if rng.random_ratio(1, 3) {
        let gone = store.held.choose(rng).map(|row| row.held.raw.offset);
        unheld.extend(gone.or(rng.random_ratio(1, 4).then(|| rng.random_range(0..12))));
    }
    append.letters.extend((0..[0, 0, 1, 2][rng.random_range(0..4)]).map(|_| letter(rng)));
    append.tasks.extend((0..[0, 1, 2][rng.random_range(0..3)]).map(|_| owned(rng)));
    for _ in 0..[0, 0, 1][rng.random_range(0..3)] {
        let task = owned(rng).task;
        append.tasks_done.push(DoneTask { id: task.id, run: rng.random::<bool>().then_some(task) });
    }
    if rng.random_ratio(1, 4) {
        let release = owned(rng);
        append.begun.push(Begun { key: release.task.stream.key().to_owned(), release });
    }
    Call { append, unheld }
}

/// Postgres and the model, side by side.
struct Both {
    connection: PgConnection,
    store: Store,
}

impl Both {
    async fn rows(&mut self) -> (Vec<HeldRow>, Vec<HeldRow>) {
        let keys = KEYS.map(str::to_owned);
        (
            log::held_messages(&mut self.connection, &keys, 100).await.unwrap(),
            self.store.held_messages(&keys, 100),
        )
    }

    /// What is not held any more has an id that nothing has.
    async fn append(&mut self, call: &Call) -> [Result<String, StoreError>; 2] {
        let (theirs, ours) = self.rows().await;
        let ids = |rows: &[HeldRow]| -> Vec<i64> {
            let id =
                |offset: &i64| rows.iter().find(|row| row.held.raw.offset == *offset).map_or(0, |row| row.id);
            call.unheld.iter().map(id).collect()
        };
        let theirs = Append { unheld: ids(&theirs), ..call.append.clone() };
        let ours = Append { unheld: ids(&ours), ..call.append.clone() };
        let said = |appended: Appended| match appended {
            Appended::Done { .. } => "done".to_owned(),
            Appended::DoneBefore { .. } => "done before".to_owned(),
            other => format!("{other:?}"),
        };
        let theirs = log::append(&mut self.connection, &theirs).await.map(said);
        [theirs, self.store.append(&ours, time(0)).map(said)]
    }

    async fn compare(&mut self) {
        let (theirs, ours) = self.rows().await;
        let held = |rows: Vec<HeldRow>| rows.into_iter().map(|row| row.held).collect::<Vec<_>>();
        assert_eq!(held(theirs), held(ours));
        let Self { connection, store } = self;
        assert_eq!(log::tail(connection, 0, 10_000).await.unwrap(), store.tail(0, 10_000));
        let places = [(Topic::PaymentsEvents, 2), (Topic::OrdersCommands, 2)];
        assert_eq!(log::positions(connection, &places).await.unwrap(), store.positions(&places));
        assert_eq!(log::held_keys(connection, &[1]).await.unwrap(), store.held_keys(&[1]));
        assert_eq!(log::letters_after(connection, 0, 10_000).await.unwrap(), store.letters_after(0, 10_000));
        let ids: Vec<Uuid> = (0..3).map(Uuid::from_u128).collect();
        let sorted = |mut letters: Vec<log::StoredLetter>| {
            letters.sort_by_key(|letter| letter.letter_id);
            letters
        };
        assert_eq!(sorted(log::letters(connection, &ids).await.unwrap()), sorted(store.letters(&ids)));
        let asked = DueTasks {
            partitions: vec![0, 1],
            until: time(10),
            running: vec![],
            waiting: vec![1],
            kinds_that_wait: &["release"],
            limit: 100,
        };
        assert_eq!(log::due_tasks(connection, &asked).await.unwrap(), store.due_tasks(&asked));
    }
}

#[tokio::test]
async fn the_model_answers_as_postgres_does() {
    let mut answers = std::collections::BTreeMap::new();
    for seed in 0..SEEDS {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut both = Both { connection: fresh().await, store: Store::default() };
        let mut calls: Vec<Call> = Vec::new();
        for number in 0..CALLS {
            let call = match calls.last().filter(|_| rng.random_ratio(1, 5)) {
                // Its answer was lost.
                Some(last) => last.clone(),
                None => call(&mut rng, &both.store),
            };
            calls.push(call.clone());
            let place = format!("seed {seed}, call {number}");
            let said = match both.append(&call).await {
                [Ok(theirs), Ok(ours)] => {
                    assert_eq!(theirs, ours, "{place}: {:?}", call.append);
                    theirs
                }
                [Err(theirs), Err(ours)] => {
                    assert_eq!(theirs.to_string(), ours.to_string(), "{place}");
                    theirs.to_string()
                }
                [theirs, ours] => {
                    panic!("{place}: Postgres {theirs:?}, the model {ours:?}: {:?}", call.append)
                }
            };
            let kind: String = said.chars().filter(|c| !c.is_ascii_digit()).collect();
            *answers.entry(kind).or_insert(0) += 1;
            both.compare().await;
        }
    }
    println!("{answers:#?}");
    assert_eq!(answers.len(), 6, "each answer is met: {answers:?}");
}

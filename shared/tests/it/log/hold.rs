//! What waits comes back byte for byte and in order, and begins to move when its stream begins.

use shared::log::{
    Begun, DoneTask, Followers, Held, HeldRow, HoldKind, KeyHeld, Letter, LetterChange, LetterRecord,
    LetterStatus, Stage,
};

use super::*;

fn held(key: &str, kind: HoldKind, raw: Raw) -> Held {
    Held { key: key.into(), key_partition: 1, kind, raw, held_at: time(0) }
}

fn waiting(held: Vec<Held>) -> Append {
    Append { held, ..Append::default() }
}

async fn messages(connection: &mut PgConnection, key: &str) -> Vec<(i64, Held)> {
    let rows = log::held_messages(connection, &[key.to_owned()], 100).await.unwrap();
    rows.into_iter().map(|row| (row.id, row.held)).collect()
}

#[tokio::test]
async fn what_waits_keeps_its_bytes_and_its_order() {
    let mut connection = fresh().await;
    let headers = vec![
        ("name".into(), Some("value".into())),
        ("name".into(), None),
        ("".into(), Some(vec![0, 255, b'\'', b'{', 7].into())),
    ];
    let batch: Vec<_> = [
        Raw { headers: Headers::Readable(headers), ..raw(9) },
        Raw { key: None, value: None, ..raw(4) },
        Raw {
            key: Some("".into()),
            value: Some(vec![0, 1, 255].into()),
            headers: Headers::Unreadable,
            ..raw(7)
        },
    ]
    .into_iter()
    .map(|raw| held("a", HoldKind::Behind, raw))
    .collect();
    done(&mut connection, &waiting(batch.clone())).await;
    // The second time it keeps its place.
    done(
        &mut connection,
        &waiting(vec![held("a", HoldKind::Behind, raw(9)), held("a", HoldKind::Behind, raw(1))]),
    )
    .await;
    let rows = messages(&mut connection, "a").await;
    let mut expected = batch;
    expected.push(held("a", HoldKind::Behind, raw(1)));
    assert_eq!(rows.iter().map(|(_, held)| held.clone()).collect::<Vec<_>>(), expected);

    done(&mut connection, &Append { unheld: vec![rows[0].0, rows[2].0], ..Append::default() }).await;
    let offsets: Vec<_> =
        messages(&mut connection, "a").await.iter().map(|(_, held)| held.raw.offset).collect();
    assert_eq!(offsets, [4, 1]);
    let first = log::held_messages(&mut connection, &["a".into(), "b".into()], 1).await.unwrap();
    assert_eq!(first.len(), 1);
}

#[tokio::test]
async fn a_message_that_is_held_anew_with_another_reason_is_not_lost() {
    let mut connection = fresh().await;
    done(&mut connection, &waiting(vec![held("a", HoldKind::Behind, raw(1))])).await;
    let id = messages(&mut connection, "a").await[0].0;
    let again = Append { unheld: vec![id], ..waiting(vec![held("a", HoldKind::TooEarly, raw(1))]) };
    done(&mut connection, &again).await;
    let rows = messages(&mut connection, "a").await;
    assert_eq!(rows[0].1.kind, HoldKind::TooEarly);
    assert!(rows[0].0 > id, "an id is never given twice");
}

#[tokio::test]
async fn a_stream_that_begins_releases_what_was_too_early_for_it_and_nothing_else() {
    let mut connection = fresh().await;
    let early = held("a", HoldKind::TooEarly, raw(1));
    done(&mut connection, &waiting(vec![early, held("b", HoldKind::Behind, raw(2))])).await;
    let begun = |key: &str| {
        let release = owned_task(&format!("hold-{key}"), "release", time(5));
        Begun { key: key.into(), release }
    };
    // One that is held in this very batch is released as well.
    let batch = Append {
        begun: vec![begun("a"), begun("b"), begun("c"), begun("d")],
        ..waiting(vec![held("d", HoldKind::TooEarly, raw(3))])
    };
    done(&mut connection, &batch).await;
    let released = log::tasks_of_kind(&mut connection, "release", 10).await.unwrap();
    let mut streams: Vec<_> = released.iter().map(|owned| owned.task.stream.to_string()).collect();
    streams.sort();
    assert_eq!(streams, ["hold-a", "hold-d"]);

    // And none where the batch takes the last one away.
    let ids: Vec<_> = messages(&mut connection, "a").await.iter().map(|(id, _)| *id).collect();
    let batch = Append {
        unheld: ids,
        tasks_done: vec![DoneTask { id: begun("a").release.task.id, run: None }],
        begun: vec![begun("a")],
        ..Append::default()
    };
    done(&mut connection, &batch).await;
    assert_eq!(log::tasks_of_kind(&mut connection, "release", 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_stands_as_its_letters_and_its_waiting_messages_say() {
    let mut connection = fresh().await;
    let letter = |id: u128, key: &str, partition: i32| LetterRecord {
        letter_id: Uuid::from_u128(id),
        recorded_at: time(0),
        what: LetterChange::Dead(Box::new(Letter {
            group: "order-service".into(),
            raw: raw(i64::try_from(id).unwrap()),
            stage: Stage::Decide,
            code: "impossible".into(),
            message: String::new(),
            fingerprint: String::new(),
            delivery_count: 1,
            build: "1".into(),
            holds: Some((key.into(), partition)),
        })),
    };
    let status = |id: u128, status| LetterRecord {
        letter_id: Uuid::from_u128(id),
        recorded_at: time(1),
        what: LetterChange::Status { status, by: "me".into(), reason: "mended".into(), mended: None },
    };
    let batch = Append {
        letters: vec![letter(1, "a", 1), letter(2, "a", 1), letter(3, "c", 1), letter(4, "far", 7)],
        ..waiting(vec![
            held("a", HoldKind::Behind, raw(11)),
            held("a", HoldKind::TooEarly, raw(12)),
            held("b", HoldKind::Newer, raw(13)),
            held("b", HoldKind::Newer, raw(14)),
        ])
    };
    done(&mut connection, &batch).await;
    let stands = |key: &str, letter: u128, [too_early, behind, newer]: [i64; 3]| KeyHeld {
        key: key.into(),
        letter: (letter > 0).then(|| Uuid::from_u128(letter)),
        too_early,
        behind,
        newer,
    };
    let expected = [stands("a", 1, [1, 1, 0]), stands("b", 0, [0, 0, 2]), stands("c", 3, [0, 0, 0])];
    assert_eq!(log::held_keys(&mut connection, &[0, 1]).await.unwrap(), expected);
    let mut behind = Vec::new();
    for (id, first_max) in [(1, 9), (2, 1), (3, 9), (5, 9)] {
        let followers = log::followers(&mut connection, Uuid::from_u128(id), first_max).await.unwrap();
        let offsets = |row: &HeldRow| row.held.raw.offset;
        behind.push(followers.map(|of| (of.messages, of.first.iter().map(offsets).collect::<Vec<_>>())));
    }
    assert_eq!(behind, [Some((2, vec![11, 12])), Some((2, vec![11])), Some((0, vec![])), None]);

    let changes = vec![status(1, LetterStatus::Redriven), status(3, LetterStatus::Redriven)];
    done(&mut connection, &Append { letters: changes, ..Append::default() }).await;
    // Redriven after it had failed again, and the other way round.
    let changes = vec![status(2, LetterStatus::FailedAgain), status(3, LetterStatus::Parked)];
    done(&mut connection, &Append { letters: changes, ..Append::default() }).await;
    let expected = [stands("c", 3, [0, 0, 0]), stands("a", 2, [1, 1, 0]), stands("x", 0, [0, 0, 0])];
    let mut asked = log::keys_held(&mut connection, &["c", "a", "x", "a"].map(String::from)).await.unwrap();
    asked.sort_by_key(|held| held.key != "c");
    assert_eq!(asked, expected);
    done(&mut connection, &Append { letters: vec![status(2, LetterStatus::Discarded)], ..Append::default() })
        .await;
    let asked = log::keys_held(&mut connection, &["a".to_owned()]).await.unwrap();
    assert_eq!(asked, [stands("a", 0, [1, 1, 0])]);
    // Two wait on its key, for another reason than this letter.
    let done = log::followers(&mut connection, Uuid::from_u128(2), 9).await.unwrap();
    assert_eq!(done, Some(Followers::default()));
}

#[tokio::test]
async fn what_another_replica_has_processed_is_read_again() {
    let mut connection = fresh().await;
    done(
        &mut connection,
        &waiting(vec![held("a", HoldKind::TooEarly, raw(1)), held("a", HoldKind::TooEarly, raw(2))]),
    )
    .await;
    let ids: Vec<i64> = messages(&mut connection, "a").await.into_iter().map(|(id, _)| id).collect();
    done(&mut connection, &Append { unheld: vec![ids[0]], ..Append::default() }).await;
    let stale = Append { unheld: ids.clone(), ..Append::default() };
    assert_eq!(append(&mut connection, &stale).await, Appended::LogMoved { end: 0 });
    assert_eq!(messages(&mut connection, "a").await.len(), 1, "nothing was written");
}

//! Dead letters die once, keep their bytes, and are numbered without a hole.

use shared::log::{Letter, LetterChange, LetterRecord, LetterStatus, NumberedLetter, Stage, StoredLetter};

use super::*;

fn letter(offset: i64) -> Letter {
    Letter {
        group: "order-service".into(),
        raw: Raw {
            key: None,
            value: Some(vec![0, 159, 146, 150].into()),
            headers: Headers::Readable(vec![("x".into(), None), ("x".into(), Some("é".into()))]),
            ..raw(offset)
        },
        stage: Stage::Decode,
        code: "invalid-json".into(),
        message: "it's \"not\" JSON".into(),
        fingerprint: "abc".into(),
        delivery_count: 2,
        build: "1.0".into(),
        holds: Some(("a".into(), 3)),
    }
}

pub(super) fn dead(id: u128) -> LetterRecord {
    let what = LetterChange::Dead(Box::new(letter(i64::try_from(id).unwrap())));
    LetterRecord { letter_id: Uuid::from_u128(id), recorded_at: time(0), what }
}

fn status(id: u128, status: LetterStatus) -> LetterRecord {
    let what =
        LetterChange::Status { status, by: "me".into(), reason: "mended".into(), mended: Some("{}".into()) };
    LetterRecord { letter_id: Uuid::from_u128(id), recorded_at: time(1), what }
}

async fn add(connection: &mut PgConnection, letters: Vec<LetterRecord>) {
    done(connection, &Append { letters, ..Append::default() }).await;
}

#[tokio::test]
async fn a_letter_dies_once_and_no_number_is_lost() {
    let mut connection = fresh().await;
    add(&mut connection, vec![dead(1), dead(2), dead(1)]).await;
    add(&mut connection, vec![dead(2), dead(3), status(1, LetterStatus::Parked), dead(1)]).await;
    let records = log::letters_after(&mut connection, 0, 100).await.unwrap();
    let expected = [dead(1), dead(2), dead(3), status(1, LetterStatus::Parked)];
    assert_eq!(records.iter().map(|row| row.record.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(records.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(log::letters_end(&mut connection).await.unwrap(), 4);
}

#[tokio::test]
async fn every_record_knows_the_messages_key_and_the_redrives_before_it() {
    let mut connection = fresh().await;
    let keyed = |id: u128| {
        let mut letter = letter(7);
        letter.raw.key = Some(vec![0, 255].into());
        LetterRecord { what: LetterChange::Dead(Box::new(letter)), ..dead(id) }
    };
    let records = [
        keyed(1),
        status(1, LetterStatus::FailedAgain),
        dead(2),
        status(1, LetterStatus::Parked),
        status(1, LetterStatus::Redriven),
        status(2, LetterStatus::Discarded),
    ];
    add(&mut connection, records.to_vec()).await;
    let key = Some(vec![0, 255].into());
    let rows = log::letters_after(&mut connection, 1, 4).await.unwrap();
    let numbered = |number, key, redrives| {
        let record = records[usize::try_from(number).unwrap() - 1].clone();
        NumberedLetter { number, key, redrives, record }
    };
    let expected =
        [numbered(2, key.clone(), 0), numbered(3, None, 0), numbered(4, key.clone(), 1), numbered(5, key, 2)];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn a_letter_stands_as_its_newest_record_says() {
    let mut connection = fresh().await;
    add(&mut connection, vec![dead(1), dead(2), status(2, LetterStatus::FailedAgain)]).await;
    add(&mut connection, vec![status(2, LetterStatus::Redriven)]).await;
    let ids = [1, 2, 3].map(Uuid::from_u128);
    let stored = |id: u128, redrives, status| StoredLetter {
        letter_id: Uuid::from_u128(id),
        letter: letter(i64::try_from(id).unwrap()),
        redrives,
        status,
    };
    let expected = [stored(1, 0, None), stored(2, 2, Some(LetterStatus::Redriven))];
    assert_eq!(log::letters(&mut connection, &ids).await.unwrap(), expected);
}

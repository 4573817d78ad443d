//! Dead letters leave in order, with the bytes that they came with.

use std::collections::BTreeSet;

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use shared::{
    contract::envelope::{Header, Headers, Raw, time_text},
    log::{Lane, Letter, LetterChange, LetterRecord, LetterStatus, Stage},
};

use super::*;

fn letter(offset: i64) -> LetterRecord {
    let raw = Raw {
        topic: Topic::OrdersCommands,
        partition: 3,
        offset,
        key: Some(vec![0, 159, 255].into()),
        value: Some(vec![b'{', 0, 255].into()),
        headers: Headers::Readable(vec![
            ("trace".into(), Some("1".into())),
            ("trace".into(), None),
            ("empty".into(), Some(Bytes::new())),
            // Somebody's own; ours come after it.
            ("dlq.id".into(), Some("theirs".into())),
        ]),
        timestamp_ms: 1,
    };
    let letter = Letter {
        group: SERVICE.into(),
        raw,
        stage: Stage::Decode,
        code: "invalid-json".into(),
        message: "is not \"JSON\", ä".into(),
        fingerprint: "0123456789abcdef".into(),
        delivery_count: 2,
        build: "1.2.3".into(),
        holds: None,
    };
    LetterRecord {
        letter_id: Uuid::from_u128(offset as u128),
        recorded_at: Timestamp::from_timestamp_millis(1_790_000_000_123).unwrap(),
        what: LetterChange::Dead(Box::new(letter)),
    }
}

fn status(offset: i64, status: LetterStatus, reason: &str) -> LetterRecord {
    let what =
        LetterChange::Status { status, by: "ann".into(), reason: reason.into(), mended: Some("{}".into()) };
    LetterRecord { what, ..letter(offset) }
}

fn without_key(mut record: LetterRecord) -> LetterRecord {
    if let LetterChange::Dead(letter) = &mut record.what {
        letter.raw.key = None;
        letter.raw.headers = Headers::Unreadable;
    }
    record
}

async fn add(database: &mut Database, letters: Vec<LetterRecord>) {
    let append = Append { seen: database.end, letters, ..Append::default() };
    let answer = log::append(&mut database.connection, &append).await.unwrap();
    assert!(matches!(answer, Appended::Done { .. }), "{answer:?}");
}

async fn published(database: &mut Database, end: i64) {
    let deadline = Instant::now() + DEADLINE;
    while database.cursor(Lane::DeadLetters).await < end {
        assert!(Instant::now() < deadline, "the letters did not leave");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn text(name: &str, value: impl ToString) -> Header {
    (Headers::name(name), Some(value.to_string().into()))
}

#[tokio::test]
async fn every_header_of_a_letter_and_of_its_changes_is_read_back() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    add(&mut database, vec![letter(7), status(7, LetterStatus::Redriven, "mended")]).await;
    let relay = relay::start(database.settings(broker.settings()), metrics());
    published(&mut database, 2).await;
    add(&mut database, vec![status(7, LetterStatus::FailedAgain, "no")]).await;
    relay.handle().wake_letters();
    published(&mut database, 3).await;
    relay.stop(DEADLINE).await;

    let [dead, redriven, failed] = broker.read(Topic::DeadLetters).try_into().unwrap();
    let LetterRecord { letter_id, recorded_at, what: LetterChange::Dead(letter) } = letter(7) else {
        panic!()
    };
    assert_eq!((&dead.key, &dead.value), (&letter.raw.key, &letter.raw.value));
    let Headers::Readable(mut expected) = letter.raw.headers else { panic!() };
    expected.extend([
        text("__dlq.errors.topic", "orders.commands"),
        text("__dlq.errors.partition", 3),
        text("__dlq.errors.offset", 7),
        text("__dlq.errors.group", SERVICE),
        text("__dlq.errors.delivery.count", 2),
        text("__dlq.errors.message", "is not \"JSON\", ä"),
        text("dlq.id", letter_id),
        text("dlq.stage", "decode"),
        text("dlq.code", "invalid-json"),
        text("dlq.fingerprint", "0123456789abcdef"),
        text("dlq.failed-at", time_text(recorded_at)),
        text("dlq.redrives", 0),
        text("dlq.build", "1.2.3"),
    ]);
    assert_eq!(dead.headers, expected);

    for (record, status, reason, redrives) in
        [(redriven, "redriven", "mended", 1), (failed, "failed-again", "no", 2)]
    {
        assert_eq!((record.key, record.value), (letter.raw.key.clone(), None));
        let expected = [
            text("dlq.id", letter_id),
            text("dlq.status", status),
            text("dlq.by", "ann"),
            text("dlq.reason", reason),
            text("dlq.redrives", redrives),
        ];
        assert_eq!(record.headers, expected);
    }
}

#[tokio::test]
async fn the_records_of_a_letter_without_a_key_stay_in_order() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    let mut records: Vec<_> = (1..=20).map(|offset| without_key(letter(offset))).collect();
    records.extend((1..=20).map(|offset| status(offset, LetterStatus::Discarded, "")));
    add(&mut database, records).await;
    let relay = relay::start(database.settings(broker.settings()), metrics());
    published(&mut database, 40).await;
    relay.stop(DEADLINE).await;

    let published = broker.read(Topic::DeadLetters);
    assert!(published.iter().all(|record| record.key.is_none()));
    let mut letters: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for record in &published {
        letters.entry(record.header("dlq.id").unwrap()).or_default().push(record.header("dlq.status"));
    }
    assert_eq!(letters.len(), 20);
    assert!(letters.values().all(|records| *records == [None, Some("discarded".to_owned())]));
}

#[tokio::test]
async fn a_database_without_an_event_log_publishes_its_letters() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    let settings = RelaySettings { topics: vec![], ..database.settings(broker.settings()) };
    let relay = relay::start(settings, metrics());
    leads(&relay).await;
    add(&mut database, (1..=60).map(letter).collect()).await;
    relay.handle().wake_letters();
    published(&mut database, 60).await;
    relay.stop(DEADLINE).await;
    let offsets: Vec<_> = broker
        .read(Topic::DeadLetters)
        .iter()
        .map(|record| record.header("__dlq.errors.offset").unwrap().parse::<i64>().unwrap())
        .collect();
    assert_eq!(offsets, (1..=60).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_letter_that_the_broker_did_not_take_is_sent_again() {
    let (mut database, broker, metrics) = (Database::new().await, Broker::new(), metrics());
    let relay = relay::start(database.settings(broker.settings()), metrics.clone());
    leads(&relay).await;
    // The client gives up at the first of them: the message is reported as not delivered.
    broker.cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN; 3]);
    add(&mut database, (1..=20).map(letter).collect()).await;
    relay.handle().wake_letters();
    published(&mut database, 20).await;
    relay.stop(DEADLINE).await;

    assert!(counted(&metrics, "relay_delivery_failed") > 0, "no delivery failed");
    let on_topic = broker.read(Topic::DeadLetters);
    let ids: BTreeSet<_> = on_topic.iter().filter_map(|letter| letter.header("dlq.id")).collect();
    assert_eq!(ids.len(), 20, "a letter is lost");
}

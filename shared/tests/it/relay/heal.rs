//! A log that lost its end takes it back from its own topics.

use std::cell::Cell;

use shared::relay::heal::{self, HealError, Refusal};

use super::*;

/// Published by a relay and then lost: a second database that has only the beginning.
async fn restored(broker: &Broker, all: usize, kept: usize) -> (Database, Database) {
    let mut whole = Database::new().await;
    let events = whole.append(all).await;
    let relay = relay::start(whole.settings(broker.settings()), metrics());
    whole.published().await;
    relay.stop(DEADLINE).await;

    let mut backup = Database::new().await;
    if kept > 0 {
        let append = Append { events: events[..kept].to_vec(), ..Append::default() };
        log::append(&mut backup.connection, &append).await.unwrap();
        backup.end = kept as i64;
        for event in &events[..kept] {
            backup.versions.insert(event.stream.as_str().to_owned(), event.version);
        }
    }
    (whole, backup)
}

async fn missing(database: &mut Database, broker: &Broker) -> Result<Vec<Recorded>, HealError> {
    asked(&database.settings(broker.settings()), &mut database.connection).await
}

/// Again where the broker does not answer in time, as the services do.
async fn asked(settings: &RelaySettings, connection: &mut PgConnection) -> Result<Vec<Recorded>, HealError> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match heal::missing_events(settings, connection).await {
            Err(HealError::Broker(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            answer => return answer,
        }
    }
}

#[tokio::test]
async fn a_restored_backup_takes_back_what_it_published_and_goes_on() {
    let broker = Broker::new();
    let (mut whole, mut backup) = restored(&broker, 3_000, 700).await;

    let back = missing(&mut backup, &broker).await.unwrap();
    let append = Append { seen: 700, events: back, ..Append::default() };
    log::append(&mut backup.connection, &append).await.unwrap();
    (backup.end, backup.versions) = (3_000, whole.versions);

    let all = log::tail(&mut whole.connection, 0, 10_000).await.unwrap();
    let back = log::tail(&mut backup.connection, 0, 10_000).await.unwrap();
    assert_eq!(back.len(), all.len());
    assert_eq!(back.iter().zip(&all).find(|(back, event)| back != event), None);
    assert!(missing(&mut backup, &broker).await.unwrap().is_empty());

    // It publishes on; what it took back is repeated and harmless.
    let relay = relay::start(backup.settings(broker.settings()), metrics());
    backup.published().await;
    backup.append(100).await;
    backup.published().await;
    relay.stop(DEADLINE).await;
    assert_complete(&broker.read(Topic::OrdersEvents), 3_100);
    assert!(missing(&mut backup, &broker).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_log_that_went_its_own_way_is_refused() {
    let broker = Broker::new();
    let (_, mut backup) = restored(&broker, 100, 50).await;
    backup.append(1).await;
    let refused = missing(&mut backup, &broker).await.unwrap_err();
    assert!(matches!(refused, HealError::Refused(Refusal::Differs { position: 51, .. })), "{refused}");
}

#[tokio::test]
async fn without_topics_nothing_is_missing() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    database.append(5).await;
    assert!(missing(&mut database, &broker).await.unwrap().is_empty());
    let away = BrokerSettings::new("127.0.0.1:1");
    let settings = database.settings(away);
    let error = heal::missing_events(&settings, &mut database.connection).await.unwrap_err();
    assert!(matches!(error, HealError::Broker(_)), "{error}");
}

#[tokio::test]
async fn while_another_replica_appends_and_publishes_nothing_is_missing() {
    const ASKED: usize = 20;
    let (mut database, broker) = (Database::new().await, Broker::new());
    database.append(10).await;
    let settings = database.settings(broker.settings());
    let relay = relay::start(settings.clone(), metrics());
    let mut starting = log::connect::connect(&database.url, "starting").await.unwrap();
    let (asks, appends) = (Cell::new(0), Cell::new(0));
    let is_over = || asks.get() >= ASKED && appends.get() >= ASKED;
    let ask = async {
        // The other one is at work meanwhile.
        while !is_over() {
            let missing = asked(&settings, &mut starting).await.unwrap();
            assert_eq!(missing, [], "what the topics have, the log has had before");
            asks.set(asks.get() + 1);
        }
    };
    let write = async {
        while !is_over() {
            // Not without an end while one question takes long: the broker in memory keeps five megabytes of a partition, and
            // whoever begins where it has just forgotten something is told so again and again.
            if appends.get() < (asks.get() + 1) * 20 {
                database.append(5).await;
                appends.set(appends.get() + 1);
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    tokio::join!(ask, write);
    relay.stop(DEADLINE).await;
}

//! What a batch reads before it decides.

use shared::log::{Load, Snapshot};

use super::*;

fn snapshot(stream_name: &str, version: i64, fingerprint: &str) -> Snapshot {
    let state = format!("{{\"version\":{version}}}");
    Snapshot { stream: stream(stream_name), version, fingerprint: fingerprint.into(), state }
}

fn streams(names: &[&str]) -> Load {
    Load {
        streams: names.iter().map(|name| stream(name)).collect(),
        fingerprint: "fold-1".into(),
        ..Load::default()
    }
}

#[tokio::test]
async fn streams_come_in_the_asked_order_with_their_events_in_version_order() {
    let mut connection = fresh().await;
    let appended = vec![event(1, "order-b", 1), event(2, "order-a", 1), event(3, "order-b", 2)];
    done(&mut connection, &events(0, appended.clone())).await;
    let loaded =
        log::load(&mut connection, &streams(&["order-c", "order-b", "order-a", "order-b"])).await.unwrap();
    let expected = vec![
        (stream("order-c"), None, vec![]),
        (stream("order-b"), None, vec![appended[0].clone(), appended[2].clone()]),
        (stream("order-a"), None, vec![appended[1].clone()]),
    ];
    assert_eq!(loaded.streams, expected);
    assert_eq!(log::load(&mut connection, &Load::default()).await.unwrap(), Default::default());
}

#[tokio::test]
async fn a_snapshot_of_the_same_fold_stands_for_the_events_before_it() {
    let mut connection = fresh().await;
    let appended: Vec<_> = (1..=5).map(|version| event(version, "stock-A", version)).collect();
    let batch = Append {
        snapshots: vec![snapshot("stock-A", 3, "fold-1"), snapshot("stock-A", 5, "fold-2")],
        ..events(0, appended.clone())
    };
    done(&mut connection, &batch).await;
    let loaded = log::load(&mut connection, &streams(&["stock-A"])).await.unwrap();
    assert_eq!(loaded.streams[0].1, Some(snapshot("stock-A", 3, "fold-1")));
    assert_eq!(loaded.streams[0].2, appended[3..]);
    let other = Load { fingerprint: "fold-3".into(), ..streams(&["stock-A"]) };
    let loaded = log::load(&mut connection, &other).await.unwrap();
    assert_eq!((&loaded.streams[0].1, loaded.streams[0].2.len()), (&None, 5));
}

#[tokio::test]
async fn a_newer_snapshot_replaces_an_older_one_and_never_the_other_way() {
    let mut connection = fresh().await;
    for (version, expected) in [(3, 3), (2, 3), (4, 4)] {
        let twice = vec![snapshot("stock-A", 1, "fold-1"), snapshot("stock-A", version, "fold-1")];
        done(&mut connection, &Append { snapshots: twice, ..Append::default() }).await;
        let loaded = log::load(&mut connection, &streams(&["stock-A"])).await.unwrap();
        assert_eq!(loaded.streams[0].1, Some(snapshot("stock-A", expected, "fold-1")));
    }
}

#[tokio::test]
async fn identities_and_positions_are_found() {
    let mut connection = fresh().await;
    let received = Recorded { event_type: "fulfil.stock.received.v1".into(), ..event(1, "stock-A", 1) };
    let adjusted = Recorded { event_type: "fulfil.stock.adjusted.v1".into(), ..event(2, "stock-A", 2) };
    let other = event(3, "order-a", 1);
    done(&mut connection, &events(0, vec![received.clone(), adjusted.clone(), other.clone()])).await;
    let load = Load {
        identities: vec![received.event_id, adjusted.event_id, other.event_id, Uuid::nil()],
        positions: vec![3, 9],
        ..Load::default()
    };
    let mut loaded = log::load(&mut connection, &load).await.unwrap();
    loaded.identities.sort_by_key(|event| event.position);
    // The third is no identity.
    assert_eq!(loaded.identities, [received, adjusted]);
    assert_eq!(loaded.positions, [(3, other.event_id)]);
}

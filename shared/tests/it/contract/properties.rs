//! Whatever arrives: no panic, and what is taken is taken whole.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};
use shared::contract::{
    catalogue::entries,
    envelope::{Headers, Mode, Part, Raw, Recorded, check_key, decode},
    ids::StreamName,
    message::Message,
    samples::SAMPLES,
    topics::{Topic, partition_of},
};
use uuid::Uuid;

use super::envelope::{arrived, expected};

fn readable(headers: Vec<(String, Option<Bytes>)>) -> Headers {
    Headers::Readable(headers.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn header_names() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "content-type",
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_time",
        "ce_position",
        "traceparent",
    ];
    prop_oneof![4 => select(KNOWN).prop_map(str::to_owned), 1 => any::<String>()]
}

fn header_values() -> impl Strategy<Value = Option<Bytes>> {
    const KNOWN: &[&str] =
        &["application/cloudevents+json", "1.0", "fulfil.order.cancel.v1", "1", "2026-11-24T10:02:11Z"];
    option::of(prop_oneof![
        select(KNOWN).prop_map(|text| Bytes::from_static(text.as_bytes())),
        vec(any::<u8>(), 0..80).prop_map(Bytes::from),
    ])
}

fn headers() -> impl Strategy<Value = Headers> {
    prop_oneof![
        20 => vec((header_names(), header_values()), 0..10).prop_map(readable),
        1 => Just(Headers::Unreadable),
    ]
}

/// Bytes of all kinds: noise, JSON of any shape, and real messages with a few bytes changed or cut.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let json = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ]
    .prop_recursive(20, 64, 4, |inner| {
        let keys = prop_oneof![
            select(&["type", "data", "specversion", "id", "order_id", "lines"][..]).prop_map(str::to_owned),
            any::<String>()
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Into::into),
            vec((keys, inner), 0..5)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    });
    let damaged = (
        select(SAMPLES),
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|((_, sample), changes, end, cut)| {
            let mut bytes = sample.as_bytes().to_vec();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if cut {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        });
    prop_oneof![vec(any::<u8>(), 0..300), json.prop_map(|json| json.to_string().into_bytes()), damaged,]
}

prop_compose! {
    fn raws()(
        topic in select(&Topic::ALL[..]),
        key in option::of(vec(any::<u8>(), 0..40)),
        value in option::weighted(0.95, values()),
        headers in headers(),
        partition in 0..12,
        offset in 0_i64..i64::MAX,
    ) -> Raw {
        Raw { topic, partition, offset, key: key.map(Into::into), value: value.map(Into::into), headers, timestamp_ms: 0 }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn reading_never_panics_and_an_error_is_bounded(raw in raws()) {
        for mode in [Mode::Development, Mode::Production] {
            let malformed = match decode(&raw, mode) {
                Err(malformed) => malformed,
                Ok(envelope) => match Message::decode(&envelope.message_type, &envelope.data) {
                    Some(Ok(message)) => match check_key(&raw, &message) {
                        Ok(()) => continue,
                        Err(malformed) => malformed,
                    },
                    Some(Err(malformed)) => malformed,
                    None => continue,
                },
            };
            prop_assert!(malformed.detail.len() <= 512, "{malformed}");
        }
    }

    #[test]
    fn payload_readers_never_panic(value in values(), pick in any::<prop::sample::Index>()) {
        let entries = entries();
        let entry = &entries[pick.index(entries.len())];
        if let Ok(text) = std::str::from_utf8(&value)
            && let Some(Ok(message)) = Message::decode(entry.message_type, text)
        {
            // What was taken is written and read back as itself.
            prop_assert_eq!(Message::decode(message.message_type(), &message.data()).unwrap().unwrap(), message);
        }
    }

    #[test]
    fn whatever_is_recorded_is_read_back(
        position in 1..i64::MAX,
        version in 1..i64::MAX,
        ids in any::<[u128; 3]>(),
        index in 1..500_u16,
        more in 0..500_u16,
        sku in "[A-Za-z0-9._-]{1,64}",
        reference in any::<String>(),
        millis in 0..4_102_444_800_000_i64,
    ) {
        let id = |n: u128| Uuid::from_u128(n | 1);
        let recorded = Recorded {
            position,
            stream: StreamName::stock(&sku.parse().unwrap()),
            version,
            event_id: id(ids[0]),
            event_type: "fulfil.stock.received.v1".into(),
            data: serde_json::json!({"sku": sku, "reference": reference}).to_string(),
            decision: Part { index, count: index + more },
            correlation_id: id(ids[1]),
            causation_id: id(ids[2]),
            traceparent: Some(format!("00-{:032x}-{:016x}-01", ids[0], ids[1] as u64)),
            recorded_at: chrono::DateTime::from_timestamp_millis(millis).unwrap(),
        };
        let outgoing = recorded.encode("inventory-service").unwrap();
        prop_assert_eq!(&outgoing.key[..], sku.as_bytes());
        prop_assert_eq!(decode(&arrived(&outgoing), Mode::Production).unwrap(), expected(&recorded));
    }

    #[test]
    fn every_key_has_a_partition(key in vec(any::<u8>(), 0..100), partitions in 1..1000) {
        prop_assert!((0..partitions).contains(&partition_of(&key, partitions)));
    }
}

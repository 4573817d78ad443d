//! The three forms, which one wins, and that what we write is what we read.

use bytes::Bytes;
use shared::contract::{
    envelope::{
        CONTENT_TYPE, Envelope, Headers, Manual, Mode, Outgoing, Part, Raw, Recorded, SOURCE_MANUAL, decode,
        encode_manual, time_text,
    },
    ids,
    ids::StreamName,
    message::Message,
    topics::Topic,
};
use uuid::Uuid;

use super::{ORDER_ID, raw};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_structured_event_is_read_with_and_without_headers() {
    let value = structured(r#","sequence":"0000000003","position":"00000000000000004711","decision":"1/2""#);
    let content_types = [
        None,
        Some(CONTENT_TYPE),
        Some("application/cloudevents+json"),
        Some("Application/CloudEvents+JSON"),
    ];
    for content_type in content_types {
        let headers: Vec<_> = content_type.iter().map(|text| ("content-type", *text)).collect();
        let envelope =
            decode(&raw(Topic::OrdersEvents, Some(ORDER_ID), &headers, value.clone()), Mode::Production);
        let envelope = envelope.unwrap();
        assert_eq!(envelope.id.to_string(), "6f9c0000-0000-4000-8000-000000000001");
        assert_eq!(envelope.source, "/fulfil/order-service");
        assert_eq!(envelope.message_type, "fulfil.order.confirmed.v1");
        assert_eq!((envelope.sequence, envelope.position), (Some(3), Some(4711)));
        assert_eq!(envelope.decision, Some(Part { index: 1, count: 2 }));
        assert_eq!(envelope.data, format!(r#"{{"order_id":"{ORDER_ID}"}}"#));
    }
}

#[test]
fn a_binary_event_is_read_from_its_headers() {
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "6f9c0000-0000-4000-8000-000000000001"),
        ("ce_source", "/shop"),
        ("ce_type", "fulfil.order.cancel.v1"),
        ("ce_time", "2026-11-24T11:02:11.034+01:00"),
        ("ce_correlationid", ORDER_ID),
        ("content-type", "application/json"),
        ("traceparent", TRACE),
    ];
    let data = format!(r#"{{"order_id":"{ORDER_ID}"}}"#);
    let envelope =
        decode(&raw(Topic::OrdersCommands, None, &headers, data.clone()), Mode::Development).unwrap();
    assert_eq!(envelope.message_type, "fulfil.order.cancel.v1");
    assert_eq!(envelope.data, data);
    assert_eq!(time_text(envelope.time.unwrap()), "2026-11-24T10:02:11.034Z");
    assert_eq!(envelope.correlation_id.unwrap().to_string(), ORDER_ID);
    assert_eq!(envelope.traceparent.as_deref(), Some(TRACE));
    assert_eq!((envelope.sequence, envelope.position), (None, None));
}

#[test]
fn a_bare_message_is_completed_from_its_place() {
    let bare = seed();
    let at = |offset| Raw { offset, ..raw(Topic::OrdersEvents, Some(ORDER_ID), &[], bare.clone()) };
    let envelope = decode(&at(7), Mode::Development).unwrap();
    assert_eq!(envelope.source, SOURCE_MANUAL);
    assert_eq!(envelope.id, decode(&at(7), Mode::Development).unwrap().id, "read again it is the same");
    assert_ne!(envelope.id, decode(&at(8), Mode::Development).unwrap().id);
    assert!(Message::decode(&envelope.message_type, &envelope.data).unwrap().is_ok());
    assert_eq!(decode(&at(7), Mode::Production).unwrap_err().code, "invalid-envelope");
}

#[test]
fn a_bare_message_cannot_claim_a_position() {
    let bare = seed().replacen('{', r#"{"id":"x","position":"1","sequence":"1","decision":"1/1","#, 1);
    let envelope = decode(&raw(Topic::OrdersEvents, None, &[], bare), Mode::Development).unwrap();
    assert_eq!((envelope.sequence, envelope.position, envelope.decision), (None, None, None));
}

#[test]
fn where_value_and_header_differ_the_value_wins() {
    let headers = [
        ("content-type", CONTENT_TYPE),
        ("ce_specversion", "1.0"),
        ("ce_id", "11111111-1111-4111-8111-111111111111"),
        ("ce_source", "/somebody/else"),
        ("ce_type", "fulfil.order.settled.v1"),
        ("ce_sequence", "99"),
        ("ce_position", "99"),
        ("traceparent", TRACE),
    ];
    let mut value = structured(r#","sequence":"3","position":"4711""#);
    let read =
        |value: &str| decode(&raw(Topic::OrdersEvents, None, &headers, value), Mode::Development).unwrap();
    let envelope = read(&value);
    assert_eq!(envelope.id.to_string(), "6f9c0000-0000-4000-8000-000000000001");
    assert_eq!(envelope.source, "/fulfil/order-service");
    assert_eq!(envelope.message_type, "fulfil.order.confirmed.v1");
    assert_eq!((envelope.sequence, envelope.position), (Some(3), Some(4711)));
    assert_eq!(envelope.traceparent.as_deref(), Some(TRACE), "the trace has no other place");

    value = structured("");
    assert_eq!(read(&value).position, None, "a header is a copy, and a copy of nothing is nothing");
}

#[test]
fn all_four_headers_make_the_binary_form_and_three_do_not() {
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "11111111-1111-4111-8111-111111111111"),
        ("ce_source", "/shop"),
        ("ce_type", "fulfil.order.cancel.v1"),
    ];
    let read = |headers: &[(&str, &str)]| {
        decode(&raw(Topic::OrdersEvents, None, headers, structured("")), Mode::Development).unwrap()
    };
    assert_eq!(read(&headers).message_type, "fulfil.order.cancel.v1", "the value is only data then");
    for missing in 0..headers.len() {
        let three: Vec<_> =
            headers.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, h)| *h).collect();
        assert_eq!(read(&three).message_type, "fulfil.order.confirmed.v1");
    }
}

#[test]
fn the_last_header_of_a_name_counts_and_a_null_one_is_none() {
    let mut message = raw(Topic::OrdersCommands, None, &[("a", "1"), ("a", "2")], "");
    assert_eq!(message.headers.text("a"), Some("2"));
    let Headers::Readable(headers) = &mut message.headers else { unreachable!() };
    headers.push(("a".into(), None));
    headers.push(("b".into(), Some(Bytes::from_static(b"\xff"))));
    assert_eq!(message.headers.text("a"), None);
    assert_eq!(message.headers.text("b"), None, "not text");
    assert_eq!(Headers::Unreadable.text("a"), None);
}

/// The examples of CloudEvents 1.0.2 (specification and Kafka binding) are read as they stand there. Their `data`
/// is XML or their type is not ours: that is for the next step to refuse.
#[test]
fn the_examples_of_the_specification_are_read() {
    let structured = r#"{
        "specversion" : "1.0",
        "type" : "com.example.someevent",
        "source" : "/mycontext",
        "subject": null,
        "id" : "C234-1234-1234",
        "time" : "2018-04-05T17:31:00Z",
        "comexampleextension1" : "value",
        "comexampleothervalue" : 5,
        "datacontenttype" : "application/json",
        "data" : { "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true }
    }"#;
    let headers = [("content-type", "application/cloudevents+json; charset=UTF-8")];
    let read = |headers: &[(&str, &str)], value: &str| {
        decode(&raw(Topic::OrdersEvents, None, headers, value), Mode::Development)
    };
    let envelope = read(&headers, structured).unwrap();
    assert_eq!(envelope.message_type, "com.example.someevent");
    assert_eq!(envelope.id, ids::named(&["event", "/mycontext", "C234-1234-1234"]), "not a UUID: derived");
    assert_eq!(time_text(envelope.time.unwrap()), "2018-04-05T17:31:00.000Z");

    let binary = [
        ("ce_specversion", "1.0"),
        ("ce_type", "com.example.someevent"),
        ("ce_source", "/mycontext/subcontext"),
        ("ce_id", "1234-1234-1234"),
        ("ce_time", "2018-04-05T03:56:24Z"),
        ("content-type", "application/json"),
    ];
    let envelope = read(&binary, r#"{"a":1}"#).unwrap();
    assert_eq!((envelope.source.as_str(), envelope.data.as_str()), ("/mycontext/subcontext", r#"{"a":1}"#));

    let batch = [("content-type", "application/cloudevents-batch+json")];
    assert_eq!(read(&batch, &format!("[{structured}]")).unwrap_err().code, "invalid-envelope");
    assert_eq!(read(&binary, "<much wow=\"xml\"/>").unwrap_err().code, "invalid-json");
}

#[test]
fn what_was_recorded_is_read_back_with_every_field_and_every_header_is_a_copy() {
    for (traceparent, stream) in
        [(Some(TRACE), "stock-SKU-1.a_b"), (None, &format!("reservation-{ORDER_ID}")[..])]
    {
        let recorded = recorded(stream, traceparent);
        let outgoing = recorded.encode("inventory-service").unwrap();
        assert_eq!(outgoing.key, recorded.stream.key());
        let envelope = decode(&arrived(&outgoing), Mode::Production).unwrap();
        assert_eq!(envelope, expected(&recorded));

        let raw = arrived(&outgoing);
        let value: serde_json::Value = serde_json::from_slice(outgoing.value.as_ref().unwrap()).unwrap();
        let attribute = |name: &str| value[name].as_str().unwrap().to_owned();
        for name in ["id", "type", "source", "subject", "correlationid", "sequence", "position"] {
            assert_eq!(raw.headers.text(&format!("ce_{name}")), Some(&attribute(name)[..]), "ce_{name}");
        }
        assert_eq!(raw.headers.text("content-type"), Some(CONTENT_TYPE));
        assert_eq!(raw.headers.text("traceparent"), traceparent);
        assert_eq!(attribute("partitionkey"), recorded.stream.key());
        assert_eq!(attribute("subject"), recorded.stream.subject());
        assert_eq!(attribute("dataschema"), "urn:fulfil:schema:stock.committed:1");
        assert_eq!(attribute("position").len(), 20, "text of one length sorts as the number");
    }
}

#[test]
fn a_stream_without_a_topic_is_not_published() {
    assert_eq!(recorded("shipment-1", None).encode("inventory-service"), None);
}

#[test]
fn a_message_of_the_edge_is_read_back_without_sequence_and_position() {
    let data = format!(r#"{{"order_id":"{ORDER_ID}","reason":"ordered \"twice\""}}"#);
    let message = Message::decode("fulfil.order.cancel.v1", &data).unwrap().unwrap();
    let (id, time) = (Uuid::from_u128(5), "2026-11-24T10:02:11.034Z".parse().unwrap());
    let outgoing =
        encode_manual(Topic::OrdersCommands, &message, id, ORDER_ID, "/fulfil/cli", time, Some(TRACE));
    let envelope = decode(&arrived(&outgoing), Mode::Production).unwrap();
    assert_eq!(Message::decode(&envelope.message_type, &envelope.data).unwrap().unwrap(), message);
    assert_eq!((envelope.id, envelope.correlation_id, envelope.time), (id, Some(id), Some(time)));
    assert_eq!((envelope.sequence, envelope.position, envelope.causation_id), (None, None, None));
    assert_eq!(envelope.traceparent.as_deref(), Some(TRACE));

    let old = Manual { message_type: "a.type", data: "nonsense", id, source: "/x", time, traceparent: None };
    assert_eq!(old.encode(Topic::OrdersCommands, "k").unwrap_err().code, "invalid-json");
}

#[test]
fn only_a_trace_that_looks_like_one_is_passed_on() {
    for odd in [
        "",
        "x",
        "00-\u{0}",
        &"0".repeat(300),
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\u{e9}",
    ] {
        let mut value: serde_json::Value = serde_json::from_str(&structured("")).unwrap();
        value["traceparent"] = odd.into();
        let envelope =
            decode(&raw(Topic::OrdersEvents, None, &[], value.to_string()), Mode::Development).unwrap();
        assert_eq!(envelope.traceparent, None, "{odd:?}");
    }
}

pub(super) fn recorded(stream: &str, traceparent: Option<&str>) -> Recorded {
    Recorded {
        position: 4711,
        stream: StreamName::parse(stream).unwrap(),
        version: 12,
        event_id: Uuid::from_u128(1),
        event_type: "fulfil.stock.committed.v1".into(),
        data: format!(r#"{{"order_id":"{ORDER_ID}"}}"#),
        decision: Part { index: 2, count: 3 },
        correlation_id: Uuid::from_u128(2),
        causation_id: Uuid::from_u128(3),
        traceparent: traceparent.map(str::to_owned),
        recorded_at: "2026-11-24T10:02:11.034Z".parse().unwrap(),
    }
}

pub(super) fn expected(recorded: &Recorded) -> Envelope {
    Envelope {
        id: recorded.event_id,
        source: "/fulfil/inventory-service".into(),
        message_type: recorded.event_type.clone(),
        data: recorded.data.clone(),
        time: Some(recorded.recorded_at),
        correlation_id: Some(recorded.correlation_id),
        causation_id: Some(recorded.causation_id),
        traceparent: recorded.traceparent.clone(),
        sequence: Some(recorded.version),
        position: Some(recorded.position),
        decision: Some(recorded.decision),
    }
}

/// What a consumer gets of what a producer was given.
pub(super) fn arrived(outgoing: &Outgoing) -> Raw {
    Raw {
        topic: outgoing.topic,
        partition: 0,
        offset: 0,
        key: Some(outgoing.key.clone()),
        value: outgoing.value.clone(),
        headers: Headers::Readable(outgoing.headers.clone()),
        timestamp_ms: 0,
    }
}

fn structured(more: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"6f9c0000-0000-4000-8000-000000000001","source":"/fulfil/order-service",
        "type":"fulfil.order.confirmed.v1"{more},"data":{{"order_id":"{ORDER_ID}"}}}}"#
    )
}

fn seed() -> String {
    format!(
        r#"{{"type":"fulfil.order.created.v1","data":{{"order_id":"{ORDER_ID}","user_id":"u1","product_id":"SKU-1","quantity":2}}}}"#
    )
}

//! What is not one of our messages, each kind with the code that its dead letter carries.

use bytes::Bytes;
use shared::contract::{
    Malformed,
    envelope::{CONTENT_TYPE, Headers, Mode, Raw, check_key, decode},
    limits::*,
    message::Message,
    topics::Topic,
};

use super::{ORDER_ID, raw};

/// As a service reads: envelope, payload, key. `None` where the type is unknown.
fn read(raw: &Raw, mode: Mode) -> Option<Result<Message, Malformed>> {
    let envelope = match decode(raw, mode) {
        Ok(envelope) => envelope,
        Err(malformed) => return Some(Err(malformed)),
    };
    let message = Message::decode(&envelope.message_type, &envelope.data)?;
    Some(message.and_then(|message| check_key(raw, &message).map(|()| message)))
}

fn command(value: impl Into<Vec<u8>>) -> Raw {
    raw(Topic::OrdersCommands, Some(ORDER_ID), &[], value)
}

fn event(message_type: &str, data: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"a","source":"/shop","type":"{message_type}","data":{data}}}"#)
}

/// An order with one field of one line replaced.
fn order(field: &str, json: &str) -> String {
    let mut line = serde_json::json!({"sku": "SKU-1", "quantity": 1, "unit_price_minor": 0});
    let mut data = serde_json::json!({
        "order_id": ORDER_ID, "user_id": "u1", "lines": [], "amount": {"minor": 0, "currency": "EUR"},
    });
    let marked = "\u{1}";
    match field.strip_prefix("line.") {
        Some(field) => line[field] = marked.into(),
        None => data[field] = marked.into(),
    }
    if data["lines"].is_array() {
        data["lines"] = serde_json::json!([line]);
    }
    event("fulfil.order.create.v2", &data.to_string().replace(r#""\u0001""#, json))
}

/// A bare cancellation with more beside its data.
fn bare(beside: &str) -> Raw {
    let data = format!(r#"{{"order_id":"{ORDER_ID}"}}"#);
    command(format!(r#"{{"type":"fulfil.order.cancel.v1","data":{data},{beside}}}"#))
}

#[test]
fn what_is_not_json_of_ours_is_malformed() {
    let nested = "[".repeat(40) + &"]".repeat(40);
    let cancel = format!(r#"{{"order_id":"{ORDER_ID}"}}"#);
    let kinds: Vec<(&str, &str, Raw)> = vec![
        ("a null value", "empty", Raw { value: None, ..command("") }),
        ("an empty value", "empty", command("")),
        ("text", "invalid-json", command("hello")),
        ("bytes that are not UTF-8", "invalid-json", command(*b"\xff\xfe{}")),
        ("cut off", "invalid-json", command(&event("fulfil.order.cancel.v1", &cancel)[..40])),
        ("something behind it", "invalid-json", command(event("fulfil.order.cancel.v1", &cancel) + "{}")),
        ("a NUL byte", "invalid-json", command(event("fulfil.order.cancel.v1", &cancel) + "\0")),
        ("a number out of range", "invalid-json", command(order("line.quantity", "1e999"))),
        ("a lone surrogate", "invalid-json", command(order("user_id", r#""\ud800""#))),
        ("too deep", "limit", command(event("fulfil.order.cancel.v1", &nested))),
        ("a key twice", "duplicate-key", command(order("line.quantity", r#"1,"quantity":2"#))),
        ("a key twice, escaped", "duplicate-key", command(order("line.quantity", r#"1,"quan\u0074ity":2"#))),
        ("a type twice", "duplicate-key", command(r#"{"type":"a","type":"b","data":{}}"#)),
        ("a key twice in an attribute of others", "duplicate-key", bare(r#""x":{"a":1,"a":2}"#)),
        ("an attribute of others twice", "duplicate-key", bare(r#""x":1,"x":2"#)),
        ("data twice, escaped", "duplicate-key", bare(r#""d\u0061ta":1"#)),
        ("an attribute of others out of range", "invalid-json", bare(r#""x":1e999"#)),
        ("a lone surrogate in an attribute", "invalid-json", bare(r#""id":"\ud800""#)),
        ("an attribute of others too deep", "limit", bare(&format!(r#""x":{nested}"#))),
        ("a type that is a number and a key twice", "duplicate-key", command(r#"{"type":5,"x":1,"x":2}"#)),
        ("an array", "invalid-envelope", command("[]")),
        (
            "the attributes in a list",
            "invalid-envelope",
            command(r#"["1.0","a","/b","fulfil.order.cancel.v1",null,{}]"#),
        ),
        ("a number", "invalid-envelope", command("5")),
        ("no type", "invalid-envelope", command(r#"{"specversion":"1.0","id":"a","source":"b","data":{}}"#)),
        ("an empty type", "invalid-envelope", command(event("", "{}"))),
        ("a type that is a number", "invalid-envelope", command(r#"{"type":5,"data":{}}"#)),
        ("a type with a NUL", "invalid-envelope", command(event("a\\u0000", "{}"))),
        ("no data", "invalid-envelope", command(r#"{"type":"fulfil.order.cancel.v1"}"#)),
        (
            "another specversion",
            "invalid-envelope",
            command(r#"{"specversion":"0.3","id":"a","source":"b","type":"c","data":{}}"#),
        ),
        (
            "an empty id",
            "invalid-envelope",
            command(r#"{"specversion":"1.0","id":"","source":"b","type":"c","data":{}}"#),
        ),
        (
            "a time that is none",
            "invalid-envelope",
            command(r#"{"specversion":"1.0","type":"c","time":"noon","data":{}}"#),
        ),
        (
            "a position that is none",
            "invalid-envelope",
            command(r#"{"specversion":"1.0","type":"c","position":"0","data":{}}"#),
        ),
        (
            "a position beyond a log",
            "invalid-envelope",
            command(r#"{"specversion":"1.0","type":"c","position":"99999999999999999999","data":{}}"#),
        ),
        (
            "part 3 of 2",
            "invalid-envelope",
            command(r#"{"specversion":"1.0","type":"c","decision":"3/2","data":{}}"#),
        ),
        ("null data", "invalid-data", command(event("fulfil.order.cancel.v1", "null"))),
        ("data that is a text", "invalid-data", command(event("fulfil.order.cancel.v1", r#""x""#))),
        ("no order id", "invalid-data", command(event("fulfil.order.cancel.v1", "{}"))),
        (
            "a structured event without specversion",
            "invalid-envelope",
            raw(Topic::OrdersCommands, None, &[("content-type", CONTENT_TYPE)], r#"{"type":"a","data":{}}"#),
        ),
        (
            "a binary event with a key twice",
            "duplicate-key",
            raw(
                Topic::OrdersCommands,
                None,
                &[("ce_specversion", "1.0"), ("ce_id", "a"), ("ce_source", "b"), ("ce_type", "c")],
                r#"{"a":1,"a":2}"#,
            ),
        ),
        (
            "a binary event of another version",
            "invalid-envelope",
            raw(
                Topic::OrdersCommands,
                None,
                &[("ce_specversion", "0.3"), ("ce_id", "a"), ("ce_source", "b"), ("ce_type", "c")],
                "{}",
            ),
        ),
        (
            "a header name that is not UTF-8",
            "headers-unreadable",
            Raw { headers: Headers::Unreadable, ..command("{}") },
        ),
    ];
    assert!(kinds.len() >= 20);
    for (kind, code, raw) in kinds {
        match read(&raw, Mode::Development) {
            Some(Err(malformed)) => assert_eq!(malformed.code, code, "{kind}: {malformed}"),
            other => panic!("{kind}: {other:?}"),
        }
    }
}

#[test]
fn a_field_outside_its_limits_is_malformed_and_named() {
    let long = |count: usize| format!("\"{}\"", "x".repeat(count));
    let lines = |count: usize| {
        let line = r#"{"sku":"A","quantity":1,"unit_price_minor":0}"#;
        format!("[{}]", vec![line; count].join(","))
    };
    let kinds: Vec<(&str, String, &str, &str)> = vec![
        ("line.quantity", "0".into(), "limit", "/lines/0/quantity"),
        ("line.quantity", "-1".into(), "limit", "/lines/0/quantity"),
        ("line.quantity", "1000001".into(), "limit", "/lines/0/quantity"),
        ("line.quantity", "1.0".into(), "invalid-data", "/lines/0/quantity"),
        ("line.quantity", "1e3".into(), "invalid-data", "/lines/0/quantity"),
        ("line.quantity", "\"5\"".into(), "invalid-data", "/lines/0/quantity"),
        ("line.quantity", "99999999999999999999".into(), "invalid-data", "/lines/0/quantity"),
        ("line.quantity", "null".into(), "invalid-data", "/lines/0/quantity"),
        ("line.quantity", "true".into(), "invalid-data", "/lines/0/quantity"),
        ("line.unit_price_minor", "-1".into(), "limit", "/lines/0/unit_price_minor"),
        ("line.unit_price_minor", "1000000000001".into(), "limit", "/lines/0/unit_price_minor"),
        ("line.unit_price_minor", "1".into(), "amount-mismatch", "/amount/minor"),
        ("line.sku", "\"\"".into(), "invalid-data", "/lines/0/sku"),
        ("line.sku", "\"a b\"".into(), "invalid-data", "/lines/0/sku"),
        ("line.sku", "\"a/../b\"".into(), "invalid-data", "/lines/0/sku"),
        ("line.sku", long(65), "invalid-data", "/lines/0/sku"),
        ("lines", "[]".into(), "limit", "/lines"),
        ("lines", lines(201), "limit", "/lines"),
        ("lines", "{}".into(), "invalid-data", "/lines"),
        ("user_id", "\"\"".into(), "invalid-data", "/user_id"),
        ("user_id", "\" \"".into(), "invalid-data", "/user_id"),
        ("user_id", "\"a\\nb\"".into(), "invalid-data", "/user_id"),
        ("user_id", long(129), "invalid-data", "/user_id"),
        ("order_id", "\"00000000-0000-0000-0000-000000000000\"".into(), "invalid-data", "/order_id"),
        ("order_id", "\"0198f3c25a107c319d440a4be1c25f01\"".into(), "invalid-data", "/order_id"),
        ("order_id", "\"x\"".into(), "invalid-data", "/order_id"),
        ("amount", r#"{"minor":0,"currency":"eur"}"#.into(), "invalid-data", "/amount/currency"),
        ("amount", r#"{"minor":0,"currency":"EURO"}"#.into(), "invalid-data", "/amount/currency"),
        ("amount", r#"{"minor":-1,"currency":"EUR"}"#.into(), "amount-mismatch", "/amount/minor"),
        ("amount", r#"{"minor":0}"#.into(), "invalid-data", "/amount/currency"),
        ("amount", "0".into(), "invalid-data", "/amount"),
        ("deadline_at", "\"noon\"".into(), "invalid-data", "/deadline_at"),
        ("deadline_at", "\"0000-01-01T00:00:00Z\"".into(), "limit", "/deadline_at"),
    ];
    for (field, json, code, pointer) in kinds {
        match read(&command(order(field, &json)), Mode::Development) {
            Some(Err(malformed)) => {
                assert_eq!(
                    (malformed.code, &malformed.pointer[..]),
                    (code, pointer),
                    "{field}={json}: {malformed}"
                );
            }
            other => panic!("{field}={json}: {other:?}"),
        }
    }
    for (field, json) in [
        ("line.quantity", "1000000".to_owned()),
        ("line.sku", long(64)),
        ("user_id", long(128)),
        ("lines", lines(200)),
        ("deadline_at", "\"2026-11-24T10:02:11Z\"".into()),
        ("deadline_at", "null".into()),
    ] {
        let at_the_limit = read(&command(order(field, &json)), Mode::Development);
        assert!(matches!(at_the_limit, Some(Ok(_))), "{field}={json}: {at_the_limit:?}");
    }
}

#[test]
fn the_sum_of_the_lines_never_overflows() {
    let line =
        format!(r#"{{"sku":"A","quantity":{QUANTITY_MAX},"unit_price_minor":{UNIT_PRICE_MINOR_MAX}}}"#);
    let lines = format!("[{}]", vec![line; LINES_MAX].join(","));
    let Some(Err(malformed)) = read(&command(order("lines", &lines)), Mode::Development) else { panic!() };
    assert_eq!((malformed.code, &malformed.pointer[..]), ("limit", "/lines"));
}

#[test]
fn an_error_text_quotes_no_payload() {
    let secret = "4929-1234-5678-1234";
    let quoted = format!("\"{secret}, expected a at line b\"");
    let mut texts = Vec::new();
    for field in ["line.quantity", "line.sku", "user_id", "order_id", "amount", "lines", "deadline_at"] {
        texts.push(order(field, &quoted));
    }
    texts.push(event("fulfil.order.cancel.v1", &format!(r#"{{"order_id":"{ORDER_ID}","by":{quoted}}}"#)));
    texts.push(event("fulfil.order.cancel.v1", &quoted));
    texts.push(format!(r#"{{"type":{{"{secret}":1}},"data":{quoted}}}"#));
    texts.push(quoted.clone());
    for text in texts {
        match read(&command(text.clone()), Mode::Development) {
            Some(Err(malformed)) => assert!(!malformed.to_string().contains(secret), "{malformed}"),
            Some(Ok(message)) => assert!(text.contains("user_id"), "{message:?}"),
            None => panic!("{text}"),
        }
    }
}

#[test]
fn a_message_is_at_most_so_large_with_its_headers() {
    let at = |bytes: usize, header: &str| {
        let reason = "x".repeat(bytes - event("fulfil.order.cancel.v1", "").len() - 2);
        raw(
            Topic::OrdersCommands,
            None,
            &[("h", header)],
            event("fulfil.order.cancel.v1", &format!("\"{reason}\"")),
        )
    };
    let code = |raw: &Raw| read(raw, Mode::Development).unwrap().unwrap_err().code;
    assert_eq!(code(&at(MESSAGE_BYTES_MAX - 1, "")), "invalid-data", "within the limit it is looked at");
    assert_eq!(code(&at(MESSAGE_BYTES_MAX, "")), "too-large");
    assert_eq!(code(&at(MESSAGE_BYTES_MAX - 100, &"h".repeat(100))), "too-large");
}

#[test]
fn a_redrive_carries_a_value_of_one_mebibyte_and_not_more() {
    let redrive = |bytes: usize| {
        let value = base64(&vec![b'x'; bytes]);
        let data = format!(
            r#"{{"dead_letter_id":"{ORDER_ID}","group":"order-service","by":"ops","reason":"r","value_base64":"{value}"}}"#
        );
        read(
            &raw(Topic::DeadLettersCommands, Some("any"), &[], event("fulfil.dead-letter.redrive.v1", &data)),
            Mode::Production,
        )
    };
    assert!(matches!(redrive(REDRIVE_BYTES_MAX), Some(Ok(_))));
    assert!(matches!(redrive(REDRIVE_BYTES_MAX + 1), Some(Err(Malformed { code: "limit", .. }))));
}

#[test]
fn the_key_is_the_id_in_data_and_the_topic_is_that_of_the_type() {
    let cancel = event("fulfil.order.cancel.v1", &format!(r#"{{"order_id":"{ORDER_ID}"}}"#));
    let receive = event("fulfil.stock.receive.v1", r#"{"sku":"SKU-1","quantity":1}"#);
    let code = |raw: &Raw, mode| read(raw, mode).unwrap().map(|_| "fine").unwrap_or_else(|error| error.code);
    let on = |topic, key, value: &str| raw(topic, key, &[], value);
    let upper = ORDER_ID.to_uppercase();
    for (raw, mode, expected) in [
        (on(Topic::OrdersCommands, Some(ORDER_ID), &cancel), Mode::Production, "fine"),
        (on(Topic::OrdersCommands, None, &cancel), Mode::Development, "fine"),
        (on(Topic::OrdersCommands, None, &cancel), Mode::Production, "no-key"),
        (on(Topic::OrdersCommands, Some("x"), &cancel), Mode::Development, "key-mismatch"),
        (on(Topic::OrdersCommands, Some(""), &cancel), Mode::Development, "key-mismatch"),
        // Another text is another partition, whatever UUID it spells.
        (on(Topic::OrdersCommands, Some(&upper), &cancel), Mode::Development, "key-mismatch"),
        (on(Topic::InventoryCommands, Some("SKU-1"), &receive), Mode::Production, "fine"),
        (on(Topic::InventoryCommands, Some("SKU-2"), &receive), Mode::Production, "key-mismatch"),
        (on(Topic::OrdersCommands, Some("SKU-1"), &receive), Mode::Development, "wrong-topic"),
        (on(Topic::PaymentsEvents, Some(ORDER_ID), &cancel), Mode::Development, "wrong-topic"),
    ] {
        assert_eq!(code(&raw, mode), expected, "{} {:?}", raw.topic, raw.key);
    }
}

#[test]
fn in_production_an_event_without_a_position_is_foreign() {
    let declined = event("fulfil.payment.declined.v1", &format!(r#"{{"order_id":"{ORDER_ID}","code":"x"}}"#));
    let by_hand = raw(Topic::PaymentsEvents, Some(ORDER_ID), &[], declined);
    assert!(matches!(read(&by_hand, Mode::Development), Some(Ok(_))));
    let Some(Err(malformed)) = read(&by_hand, Mode::Production) else { panic!() };
    assert_eq!(malformed.code, "foreign");
}

#[test]
fn an_unknown_type_is_readable_and_unknown() {
    let later = event("fulfil.order.created.v3", "{}");
    assert!(read(&command(later.clone()), Mode::Development).is_none());
    assert_eq!(decode(&command(later), Mode::Development).unwrap().message_type, "fulfil.order.created.v3");
    assert!(!Message::knows("fulfil.order.created.v3"));
}

#[test]
fn null_headers_and_binary_keys_are_harmless() {
    let cancel = event("fulfil.order.cancel.v1", &format!(r#"{{"order_id":"{ORDER_ID}"}}"#));
    let headers = ["content-type", "ce_id", "ce_type", "ce_source", "ce_specversion", "traceparent", ""];
    let headers = headers.map(|name| (name.into(), None)).to_vec();
    let message = Raw { headers: Headers::Readable(headers), ..command(cancel) };
    assert!(matches!(read(&message, Mode::Development), Some(Ok(_))));
    let message = Raw { key: Some(Bytes::from_static(b"\xff\0")), ..message };
    assert!(matches!(read(&message, Mode::Development), Some(Err(Malformed { code: "key-mismatch", .. }))));
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

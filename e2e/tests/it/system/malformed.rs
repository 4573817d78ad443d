//! What cannot be read is put aside untouched and holds nobody.

use bytes::Bytes;
use cli::event::{BAD_KINDS, Bad};
use cli::kafka::Record;
use e2e::system::{Order, System};
use shared::contract::{
    dead_letter::header,
    envelope::{Headers, Raw},
    topics::Topic,
};

const KINDS: usize = 12;
const GROUP: &str = "order-service";

#[tokio::test]
async fn twelve_malformed_messages_become_twelve_dead_letters_with_every_byte_and_header() {
    let mut system = System::shared().await;
    let sku = system.stocked(1_000).await;
    let good: Vec<Order> = (0..60).map(|_| Order::new(&sku, 1, 100)).collect();
    let mut records: Vec<Record> = good.iter().map(Order::create).collect();
    let mut planted = Vec::new();
    for (number, kind) in BAD_KINDS.iter().take(KINDS).enumerate() {
        let spoiled = spoiled(&sku, kind, number);
        planted.push((kind.name, spoiled.clone(), 5 * number));
        records.insert(5 * number, spoiled);
    }
    let places = system.publish(records).await;

    for (name, sent, index) in &planted {
        let place = places[*index];
        let id = system.letter_id(GROUP, Topic::OrdersCommands, place.partition, place.offset);
        let letter = system.letter(id).await;
        assert_eq!(letter.value, sent.value, "{name}: the value");
        assert_eq!(letter.key, sent.key, "{name}: the key");
        assert_headers(name, &letter, sent, place.partition, place.offset);
        let copies = system.seen.on(Topic::DeadLetters);
        let copies =
            copies.iter().filter(|raw| raw.headers.text(header::ID) == Some(&id.to_string())).count();
        assert_eq!(copies, 1, "{name}: one record");
    }
    for order in &good {
        assert_eq!(system.end(order.id).await, "completed");
    }
    system.stock_is(&sku, (940, 0)).await;
    system.adds_up().await;
}

/// A good order, spoiled, with headers of its own that must come back: a null, bytes that are no text, a name twice.
fn spoiled(sku: &str, kind: &Bad, number: usize) -> Record {
    let mut record = Order::new(sku, 1, 100).create();
    let mut header = |name: &'static str, value: Option<&[u8]>| {
        record.headers.push((name.into(), value.map(Bytes::copy_from_slice)));
    };
    header("number", Some(number.to_string().as_bytes()));
    header("bytes", Some(&[0, 159, 146, 150]));
    header("nothing", None);
    header("number", Some(b"again"));
    kind.spoil(&mut record);
    record
}

fn assert_headers(name: &str, letter: &Raw, sent: &Record, partition: i32, offset: i64) {
    let Headers::Readable(headers) = &letter.headers else { panic!("{name}: the headers cannot be read") };
    assert_eq!(headers[..sent.headers.len()], sent.headers, "{name}: its own headers, in their order");
    let text =
        |header: &str| letter.headers.text(header).unwrap_or_else(|| panic!("{name}: {header} is missing"));
    assert_eq!(text(header::TOPIC), "orders.commands", "{name}");
    assert_eq!(text(header::PARTITION), partition.to_string(), "{name}");
    assert_eq!(text(header::OFFSET), offset.to_string(), "{name}");
    assert_eq!(text(header::GROUP), GROUP, "{name}");
    assert_eq!(text(header::DELIVERY_COUNT), "1", "{name}");
    assert!(["decode", "validate"].contains(&text(header::STAGE)), "{name}: stage {}", text(header::STAGE));
    assert!(!text(header::CODE).is_empty() && !text(header::FINGERPRINT).is_empty(), "{name}");
    assert!(!text(header::MESSAGE).is_empty() && text(header::MESSAGE).len() <= 512, "{name}");
    assert_eq!(text(header::REDRIVES), "0", "{name}");
    assert!(!text(header::BUILD).is_empty(), "{name}");
    chrono::DateTime::parse_from_rfc3339(text(header::FAILED_AT))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(headers.len(), sent.headers.len() + 13, "{name}: nothing else: {headers:?}");
}

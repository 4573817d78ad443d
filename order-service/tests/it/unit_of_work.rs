//! Orders through the unit of work: what waits for what.

use std::{sync::Arc, time::Duration};

use order_service::{Orders, domain::Command};
use shared::{
    consumer::Position,
    contract::{
        envelope::{Headers, Mode, Raw, encode_manual},
        message::{Event, Message},
        order::{self, OrderEvent, OrderProgressed},
        payment::PaymentCaptured,
        stock::StockCommitted,
        topics::Topic,
    },
    decider::Decider,
    engine::inbox::Asked,
    execute::{Execute, ExecuteSettings, Input, Step},
    testing::store::Store,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::given::*;

fn receipt(topic: Topic, message: impl IntoMessage) -> Input<Orders> {
    let message: Message = message.into_message();
    let key = order_id().to_string();
    let id = Uuid::from_u128(topic as u128);
    let sent = encode_manual(topic, &message, id, &key, "/test", now(), None);
    Input::Message(Raw {
        topic,
        partition: 0,
        offset: 0,
        key: Some(sent.key),
        value: sent.value,
        headers: Headers::Readable(Vec::new()),
        timestamp_ms: 0,
    })
}

#[test]
fn the_first_of_two_receipts_waits_for_the_second_and_both_are_one_append() {
    let settings = ExecuteSettings {
        mode: Mode::Development,
        partitions: 1,
        hold_limit: Duration::from_secs(60),
        cache_streams_max: 100,
        snapshot_every: 100,
    };
    let (mut execute, mut store) =
        (Execute::new(Arc::new(Orders::default()), settings, (0, None)), Store::default());
    let positions = [Topic::InventoryEvents, Topic::PaymentsEvents].map(|topic| (topic, 0));
    execute.assign(&positions.map(|place| Position { place, next: None }), &[]);
    for command in [Command::Create(create()), Command::PaymentAuthorized(order_id())] {
        let (reply, _) = oneshot::channel();
        let asked = Asked { id: Uuid::now_v7(), command, traceparent: None, reply };
        store.run(&mut execute, vec![Input::Asked(asked)], now(), |_| {});
    }

    let first = receipt(Topic::InventoryEvents, StockCommitted { order_id: order_id() });
    assert!(matches!(execute.begin(vec![first], now()), Step::Append(_)));
    let mut inputs = execute.withdraw().unwrap();
    inputs.push(receipt(Topic::PaymentsEvents, PaymentCaptured { order_id: order_id() }));
    let Step::Append(append) = execute.begin(inputs, now()) else { panic!("all of it is cached") };
    assert!(execute.withdraw().is_none(), "the end of an order waits for nothing");
    let appended = store.append(&append, now()).unwrap();
    drop(append);
    let Step::Done(outcome) = execute.appended(&appended) else { panic!("nobody else appends") };
    let types: Vec<_> = outcome.recorded.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types, ["fulfil.order.progressed.v1", "fulfil.order.completed.v1"]);
}

#[test]
fn only_the_first_of_two_receipts_is_waited_for_by_nobody() {
    let progressed =
        OrderEvent::from(OrderProgressed { order_id: order_id(), step: order::Step::StockCommitted });
    assert_eq!(Orders::NOBODY_WAITS_FOR, [progressed.event_type()]);
}

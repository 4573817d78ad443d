//! One message of each kind about one order of two pieces of one sku.

use shared::contract::{
    Timestamp,
    envelope::Envelope,
    ids::{OrderId, Sku, UserId},
    message::Message,
    money::{Currency, Money},
    order::*,
    payment::*,
    stock::*,
};
use uuid::Uuid;

pub(crate) const QUANTITY: i64 = 2;

pub(crate) fn order_id() -> OrderId {
    OrderId::new(Uuid::from_u128(1)).unwrap()
}

pub(crate) fn sku() -> Sku {
    "SKU-1".parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    "2026-11-24T10:02:11.034Z".parse().unwrap()
}

pub(crate) fn create(unit_price_minor: i64) -> CreateOrder {
    let user_id: UserId = "u1".parse().unwrap();
    let line = Line { sku: sku(), quantity: QUANTITY, unit_price_minor };
    let amount = Money::new(unit_price_minor * QUANTITY, Currency::EUR);
    CreateOrder { order_id: order_id(), user_id, lines: vec![line], amount, deadline_at: None }
}

/// The same as an event, as somebody else would write it.
pub(crate) fn created(create: &CreateOrder) -> OrderCreated {
    let CreateOrder { order_id, user_id, lines, amount, deadline_at } = create.clone();
    OrderCreated { order_id, user_id, lines, amount, deadline_at, deadline_given: false }
}

pub(crate) fn cancel() -> CancelOrder {
    CancelOrder { order_id: order_id(), reason: None, by: None }
}

pub(crate) fn commands() -> Vec<Message> {
    let reference = |reference: &str| Some(reference.to_owned());
    vec![
        Message::OrderCommand(create(1999).into()),
        Message::OrderCommand(cancel().into()),
        Message::StockCommand(ReceiveStock { sku: sku(), quantity: 10, reference: reference("r1") }.into()),
        Message::StockCommand(
            AdjustStock { sku: sku(), delta: -1, reason: "count".into(), reference: reference("a1") }.into(),
        ),
    ]
}

/// Every event that concerns an order or its sku.
pub(crate) fn events() -> Vec<Message> {
    let (order_id, sku, amount) = (order_id(), sku(), create(1999).amount);
    let lines = vec![StockLine { sku: sku.clone(), quantity: QUANTITY }];
    let (on_hand, reserved) = (10, QUANTITY);
    let (reason, by, stage) = (CancelReason::Customer, CancelledBy::Customer, CancelStage::Created);
    let (authorize, code) = (Operation::Authorize, || "no".to_owned());
    let order: Vec<OrderEvent> = vec![
        created(&create(1999)).into(),
        OrderConfirmed { order_id }.into(),
        OrderProgressed { order_id, step: Step::StockCommitted }.into(),
        OrderCompleted { order_id }.into(),
        OrderCancelled { order_id, reason, by, note: None, stage }.into(),
        OrderSettled { order_id }.into(),
        OrderCancellationRejected { order_id, reason: CancellationRejection::Completed }.into(),
    ];
    let reservation: Vec<ReservationEvent> = vec![
        StockReserved { order_id, lines: lines.clone(), amount }.into(),
        StockRejected { order_id, shortages: vec![] }.into(),
        StockCommitted { order_id }.into(),
        StockReleased { order_id, lines: lines.clone() }.into(),
        StockRestocked { order_id, lines }.into(),
    ];
    let received = StockReceived {
        sku: sku.clone(),
        delta: 10,
        on_hand,
        reserved,
        reason: ReceivedReason::Receipt,
        reference: Some("r1".into()),
        order_id: None,
    };
    let adjusted = StockAdjusted {
        sku: sku.clone(),
        delta: -1,
        on_hand,
        reserved,
        reason: "count".into(),
        reference: "a1".into(),
    };
    let stock: Vec<StockEvent> = vec![
        received.into(),
        adjusted.into(),
        StockAllocated { sku: sku.clone(), order_id, delta: QUANTITY, on_hand, reserved }.into(),
        StockDeallocated { sku: sku.clone(), order_id, delta: -QUANTITY, on_hand, reserved }.into(),
        StockShipped { sku, order_id, delta: -QUANTITY, on_hand, reserved }.into(),
    ];
    let payment: Vec<PaymentEvent> = vec![
        PaymentRequested { order_id, amount }.into(),
        PaymentAuthorized { order_id }.into(),
        PaymentDeclined { order_id, code: code() }.into(),
        PaymentCaptureRequested { order_id }.into(),
        PaymentCaptured { order_id }.into(),
        PaymentCaptureFailed { order_id, code: code() }.into(),
        PaymentReversalRequested { order_id, awaits: authorize }.into(),
        PaymentVoided { order_id }.into(),
        PaymentRefunded { order_id }.into(),
        PaymentAbandoned { order_id }.into(),
        PaymentOutcomeUnknown { order_id, operation: authorize, attempt: 1 }.into(),
    ];
    let order = order.into_iter().map(Message::Order);
    let reservation = reservation.into_iter().map(Message::Reservation);
    let stock = stock.into_iter().map(Message::Stock);
    order.chain(reservation).chain(stock).chain(payment.into_iter().map(Message::Payment)).collect()
}

/// `position`: written by a service of ours; `None` is foreign.
pub(crate) fn envelope(message: &Message, position: Option<i64>) -> Envelope {
    Envelope {
        id: Uuid::from_u128(7),
        source: "/fulfil/test".into(),
        message_type: message.message_type().into(),
        data: String::new(),
        time: None,
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        sequence: position,
        position,
        decision: None,
    }
}

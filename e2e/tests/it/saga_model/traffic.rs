//! What the edge asks: orders of all kinds, cancellations at any time, deliveries of stock.

use rand::{Rng, rngs::SmallRng};
use shared::contract::{
    ids::{OrderId, Sku},
    message::Message,
    money::{Currency, Money},
    order::*,
    payment::*,
    stock::*,
};
use uuid::Uuid;

pub(crate) const SKUS: usize = 8;
const ARRIVE_WITHIN_MS: u64 = 60_000;

/// How something comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Topic,
    Http,
    /// Somebody else's event.
    Foreign,
}

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at_ms: u64,
    pub(crate) door: Door,
    pub(crate) message: Message,
}

pub(crate) fn order_id(number: usize) -> OrderId {
    OrderId::new(Uuid::from_u128(number as u128 + 1)).unwrap()
}

pub(crate) fn sku(number: usize) -> Sku {
    format!("S{number}").parse().unwrap()
}

pub(crate) fn number_of(sku: &Sku) -> usize {
    sku.as_str()[1..].parse().unwrap()
}

pub(crate) fn draw(rng: &mut SmallRng, orders: usize) -> Vec<Asked> {
    let mut asked = Vec::new();
    for number in 0..SKUS {
        // Of some there is enough, of some never.
        for delivery in 0..3 {
            let quantity = rng.random_range(1..=2 + 12 * number as i64);
            let receive =
                ReceiveStock { sku: sku(number), quantity, reference: Some(format!("r{delivery}")) };
            let at_ms = if delivery == 0 { 0 } else { rng.random_range(0..ARRIVE_WITHIN_MS) };
            stock(rng, &mut asked, at_ms, receive.into());
        }
        for _ in 0..2 {
            let delta = *[-5, -1, 3].get(rng.random_range(0..3)).unwrap_or(&1);
            let adjust = AdjustStock { sku: sku(number), delta, reason: "count".into(), reference: None };
            let at_ms = rng.random_range(0..ARRIVE_WITHIN_MS);
            stock(rng, &mut asked, at_ms, adjust.into());
        }
    }
    for number in 0..orders {
        order(rng, &mut asked, number);
    }
    asked
}

/// Events about `touched` of the orders that somebody writes to see what happens.
pub(crate) fn by_hand(rng: &mut SmallRng, orders: usize, touched: usize) -> Vec<Asked> {
    let mut asked = Vec::new();
    for _ in 0..touched {
        let order_id = order_id(rng.random_range(0..orders));
        for _ in 0..rng.random_range(1..=3) {
            let at_ms = some_time(rng);
            asked.push(Asked { at_ms, door: Door::Foreign, message: one_by_hand(rng, order_id) });
        }
    }
    asked
}

/// Rather when much happens than late.
pub(crate) fn some_time(rng: &mut SmallRng) -> u64 {
    let within_ms = [2_000, 70_000, 70_000, 4_000_000][rng.random_range(0..4)];
    rng.random_range(0..within_ms)
}

fn one_by_hand(rng: &mut SmallRng, order_id: OrderId) -> Message {
    let (code, lines) = (|| "by hand".to_owned(), Vec::new);
    let reservation = |event: ReservationEvent| Message::Reservation(event);
    let payment = |event: PaymentEvent| Message::Payment(event);
    match rng.random_range(0..13) {
        0 => reservation(StockRejected { order_id, shortages: vec![] }.into()),
        1 => reservation(StockCommitted { order_id }.into()),
        2 => reservation(StockReleased { order_id, lines: lines() }.into()),
        3 => reservation(StockRestocked { order_id, lines: lines() }.into()),
        4 => payment(PaymentAuthorized { order_id }.into()),
        5 => payment(PaymentDeclined { order_id, code: code() }.into()),
        6 => payment(PaymentCaptured { order_id }.into()),
        7 => payment(PaymentCaptureFailed { order_id, code: code() }.into()),
        8 => payment(PaymentVoided { order_id }.into()),
        9 => payment(PaymentRefunded { order_id }.into()),
        10 => payment(PaymentAbandoned { order_id }.into()),
        11 => Message::Order(OrderConfirmed { order_id }.into()),
        _ => {
            let (reason, by, stage) = (CancelReason::Operator, CancelledBy::Operator, CancelStage::Created);
            Message::Order(OrderCancelled { order_id, reason, by, note: None, stage }.into())
        }
    }
}

fn stock(rng: &mut SmallRng, asked: &mut Vec<Asked>, at_ms: u64, command: StockCommand) {
    let one = Asked { at_ms, door: Door::Topic, message: Message::StockCommand(command) };
    if rng.random_ratio(1, 5) {
        asked.push(Asked { at_ms: at_ms + rng.random_range(0..5_000), ..one.clone() });
    }
    asked.push(one);
}

fn order(rng: &mut SmallRng, asked: &mut Vec<Asked>, number: usize) {
    let order_id = order_id(number);
    let lines: Vec<Line> = (0..rng.random_range(1..=3))
        .map(|_| Line {
            sku: sku(rng.random_range(0..SKUS)),
            quantity: rng.random_range(1..=3),
            // The endings at which the simulated provider has its moods come up by themselves.
            unit_price_minor: if rng.random_ratio(1, 20) { 0 } else { rng.random_range(1..5_000) },
        })
        .collect();
    let free = rng.random_ratio(1, 15);
    let lines: Vec<Line> = lines
        .into_iter()
        .map(|line| Line { unit_price_minor: if free { 0 } else { line.unit_price_minor }, ..line })
        .collect();
    let amount = Money::new(sum_minor(&lines).unwrap(), Currency::EUR);
    let create = CreateOrder { order_id, user_id: "u1".parse().unwrap(), lines, amount, deadline_at: None };
    let at_ms = rng.random_range(0..ARRIVE_WITHIN_MS);
    let door = match rng.random_range(0..10) {
        0..=5 => Door::Topic,
        6..=8 => Door::Http,
        _ => Door::Foreign,
    };
    asked.push(created(at_ms, door, &create));
    if rng.random_ratio(1, 5) {
        // Again, soon or when all is over, through whichever door.
        let later = if rng.random() { 1_000 } else { 3_000_000 };
        let door = [Door::Topic, Door::Http, Door::Foreign][rng.random_range(0..3)];
        asked.push(created(at_ms + rng.random_range(0..later), door, &create));
    }
    if rng.random_ratio(1, 40) {
        let other = CreateOrder { user_id: "u2".parse().unwrap(), ..create };
        let door = if rng.random() { Door::Topic } else { Door::Foreign };
        asked.push(created(at_ms + 4_000_000, door, &other));
    }
    if rng.random_ratio(1, 5) {
        // Before it, on its way, after its end.
        let spread = [300, 3_000, 60_000, 2_000_000][rng.random_range(0..4)];
        let at_ms = (at_ms + rng.random_range(0..spread)).saturating_sub(150);
        let by = [None, Some(Canceller::Customer), Some(Canceller::Operator)][rng.random_range(0..3)];
        let cancel = CancelOrder { order_id, reason: None, by };
        let door = if rng.random_ratio(1, 3) { Door::Http } else { Door::Topic };
        asked.push(Asked { at_ms, door, message: Message::OrderCommand(cancel.into()) });
    }
}

fn created(at_ms: u64, door: Door, create: &CreateOrder) -> Asked {
    let message = match door {
        Door::Topic | Door::Http => Message::OrderCommand(create.clone().into()),
        Door::Foreign => {
            let CreateOrder { order_id, user_id, lines, amount, deadline_at } = create.clone();
            let event = OrderCreated { order_id, user_id, lines, amount, deadline_at, deadline_given: false };
            Message::Order(event.into())
        }
    };
    Asked { at_ms, door, message }
}

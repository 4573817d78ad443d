//! Invariants 2 and 3. An order is completed exactly when its goods are committed and its money is captured; else
//! nothing is held once it is settled. Every order ends, once, in time.

use std::time::Duration;

use shared::contract::{
    Timestamp, ids::OrderId, order::OrderEvent, payment::PaymentEvent, stock::ReservationEvent,
};

use super::{Rules, Violation, World, violation};

/// From the deadline to settled, for an order whose provider answers.
const COMPENSATION_LIMIT: Duration = Duration::from_secs(5 * 60);
/// From confirmed to completed.
const COMPLETION_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Where an order stands, by its own stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stand {
    created: usize,
    confirmed: bool,
    completed: usize,
    cancelled: usize,
    settled: usize,
    deadline_at: Option<Timestamp>,
}

pub(super) fn check(world: &World, rules: &Rules) -> Vec<Violation> {
    let (reservations, payments, foreign) =
        (world.reservations(), world.payments(), world.touched_by_others());
    let mut found = Vec::new();
    for (order_id, events) in world.orders() {
        let stand = stand(&events);
        found.extend(once(order_id, &stand));
        if foreign.contains(&order_id) {
            continue;
        }
        let reservation = reservations.get(&order_id).map(Vec::as_slice).unwrap_or_default();
        let payment = payments.get(&order_id).map(Vec::as_slice).unwrap_or_default();
        found.extend(whole(order_id, &stand, reservation, payment, rules));
        found.extend(in_time(order_id, &stand, world.now, rules));
    }
    found
}

fn once(order_id: OrderId, stand: &Stand) -> Option<Violation> {
    let ends = stand.completed + stand.settled;
    let detail = match stand {
        _ if stand.created != 1 => format!("created {} times", stand.created),
        _ if stand.completed > 0 && stand.cancelled + stand.settled > 0 => {
            "completed and cancelled".to_owned()
        }
        _ if ends > 1 => format!("ended {ends} times"),
        _ if stand.cancelled > 1 => format!("cancelled {} times", stand.cancelled),
        _ if stand.settled > stand.cancelled => "settled without having been cancelled".to_owned(),
        _ => return None,
    };
    Some(violation(3, order_id, detail))
}

fn in_time(order_id: OrderId, stand: &Stand, now: Timestamp, rules: &Rules) -> Option<Violation> {
    if stand.completed + stand.settled > 0 {
        return None;
    }
    if rules.quiet {
        return Some(violation(3, order_id, "nothing is under way and it has not ended"));
    }
    let limit = stand.deadline_at? + COMPENSATION_LIMIT.max(COMPLETION_LIMIT);
    (now > limit).then(|| violation(3, order_id, format!("has not ended; its last moment was {limit}")))
}

fn whole(
    order_id: OrderId,
    stand: &Stand,
    reservation: &[ReservationEvent],
    payment: &[PaymentEvent],
    rules: &Rules,
) -> Vec<Violation> {
    let (goods, money) = (goods(reservation), money(payment));
    let mut found = Vec::new();
    if stand.completed > 0 {
        if goods != Goods::Committed {
            found.push(violation(2, order_id, format!("completed, but its goods are {goods:?}")));
        }
        if money != Money::Captured {
            found.push(violation(2, order_id, format!("completed, but its money is {money:?}")));
        }
    }
    if stand.settled > 0 {
        if !matches!(goods, Goods::None | Goods::Returned) {
            found.push(violation(2, order_id, format!("settled, but its goods are {goods:?}")));
        }
        if !matches!(money, Money::None | Money::Returned) {
            found.push(violation(2, order_id, format!("settled, but its money is {money:?}")));
        }
    }
    let both = goods == Goods::Committed && money == Money::Captured;
    if rules.quiet && both && stand.completed == 0 {
        found.push(violation(
            2,
            order_id,
            "its goods are committed and its money is captured, but it is not completed",
        ));
    }
    found
}

fn stand(events: &[OrderEvent]) -> Stand {
    let mut stand = Stand::default();
    for event in events {
        match event {
            OrderEvent::Created(created) => {
                stand.created += 1;
                stand.deadline_at = created.deadline_at;
            }
            OrderEvent::Confirmed(_) => stand.confirmed = true,
            OrderEvent::Completed(_) => stand.completed += 1,
            OrderEvent::Cancelled(_) => stand.cancelled += 1,
            OrderEvent::Settled(_) => stand.settled += 1,
            OrderEvent::Progressed(_) | OrderEvent::CancellationRejected(_) => {}
        }
    }
    stand
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goods {
    None,
    Reserved,
    Committed,
    Returned,
}

fn goods(events: &[ReservationEvent]) -> Goods {
    events.last().map_or(Goods::None, |event| match event {
        ReservationEvent::Reserved(_) => Goods::Reserved,
        ReservationEvent::Committed(_) => Goods::Committed,
        ReservationEvent::Rejected(_) => Goods::None,
        ReservationEvent::Released(_) | ReservationEvent::Restocked(_) => Goods::Returned,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Money {
    None,
    Asked,
    Authorized,
    Captured,
    Returning,
    Returned,
}

pub(super) fn money(events: &[PaymentEvent]) -> Money {
    events.iter().fold(Money::None, |money, event| match event {
        PaymentEvent::Requested(_) => Money::Asked,
        PaymentEvent::Authorized(_) | PaymentEvent::CaptureFailed(_) => Money::Authorized,
        PaymentEvent::CaptureRequested(_) | PaymentEvent::OutcomeUnknown(_) => money,
        PaymentEvent::Captured(_) => Money::Captured,
        PaymentEvent::ReversalRequested(_) => Money::Returning,
        PaymentEvent::Declined(_) | PaymentEvent::Abandoned(_) => Money::None,
        PaymentEvent::Voided(_) | PaymentEvent::Refunded(_) => Money::Returned,
    })
}

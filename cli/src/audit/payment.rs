//! Invariant 4. The provider has at most one charge per payment, and its books equal ours once nothing is under way.

use std::collections::HashMap;

use payment_service::domain::record::{Record, Said};
use shared::contract::{ids::OrderId, payment::PaymentEvent};

use super::{
    Rules, Violation, World,
    order::{Money, money},
    violation,
};

pub(super) fn check(world: &World, rules: &Rules) -> Vec<Violation> {
    let Some(records) = &world.provider else { return Vec::new() };
    let mut found = Vec::new();
    for record in records.iter().filter(|record| record.charges > 1) {
        found.push(violation(4, record.payment_id, format!("the provider has {} charges", record.charges)));
    }
    if !rules.quiet {
        return found;
    }
    let (payments, foreign) = (world.payments(), world.touched_by_others());
    let records: HashMap<OrderId, &Record> =
        records.iter().map(|record| (record.payment_id, record)).collect();
    for (order_id, events) in &payments {
        if !foreign.contains(order_id) {
            found.extend(compare(*order_id, events, records.get(order_id).copied()));
        }
    }
    let unknown = records.values().filter(|record| !payments.contains_key(&record.payment_id));
    for record in unknown.filter(|record| held(record) != Money::None && held(record) != Money::Returned) {
        found.push(violation(
            4,
            record.payment_id,
            "the provider holds money for a payment that we do not know",
        ));
    }
    found
}

fn compare(order_id: OrderId, events: &[PaymentEvent], record: Option<&Record>) -> Vec<Violation> {
    let amount = events.iter().find_map(|event| match event {
        PaymentEvent::Requested(requested) => Some(requested.amount),
        _ => None,
    });
    // Nothing is asked of the provider for an order of amount zero, and no request says an amount then.
    let asked = amount.filter(|amount| !amount.is_zero());
    let ours = match asked {
        Some(_) => money(events),
        None => Money::None,
    };
    let theirs = record.map_or(Money::None, held);
    let mut found = Vec::new();
    let same = ours == theirs || (none(ours) && none(theirs));
    if !same {
        let detail = format!("our books say {ours:?}, the provider's say {theirs:?}");
        found.push(violation(4, order_id, detail));
    }
    if let (Some(asked), Some(charged)) = (asked, record.and_then(|record| record.amount))
        && asked != charged
    {
        found.push(violation(4, order_id, format!("we asked for {asked}, the provider charged {charged}")));
    }
    found
}

/// Nothing is held, whether there was something before or not.
fn none(money: Money) -> bool {
    matches!(money, Money::None | Money::Returned)
}

fn held(record: &Record) -> Money {
    let yes = |said: &Option<Said>| matches!(said, Some(Said::Yes));
    match record {
        record if yes(&record.void) || yes(&record.refund) => Money::Returned,
        record if yes(&record.capture) => Money::Captured,
        record if yes(&record.authorize) => Money::Authorized,
        _ => Money::None,
    }
}

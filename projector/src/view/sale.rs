//! What orders completed with, counted by sku and hour. A counter changes only by the difference of what two states of an
//! order say, so whatever comes again or in another order adds up to the same.

use std::collections::BTreeMap;

use chrono::{DurationRound, TimeDelta};
use shared::contract::{Timestamp, ids::Sku, money::Currency};

use super::order::{Order, Stage};

/// Of what a counter is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SaleKey {
    /// `None`: of all skus together, so that an order with several is one.
    pub sku: Option<Sku>,
    /// Begins then; `None`: of all hours together.
    pub hour: Option<Timestamp>,
    pub currency: Currency,
}

/// A counter, or what it changes by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sold {
    pub orders: i64,
    pub quantity: i64,
    /// Each order fits into an i64, their sum need not.
    pub amount_minor: i128,
}

/// By key, so that two writers lock them in one order.
pub type Sales = BTreeMap<SaleKey, Sold>;

/// Adds what the step of an order from a stage to where it is now changes. Nothing leaves `completed` by what our services
/// decide; if something did, it would be taken from the hour that it was counted in.
pub fn step(sales: &mut Sales, before: Option<&Stage>, order: &Order) {
    let (was, is) = (before.and_then(hour_of), hour_of(&order.stage));
    if was == is {
        return;
    }
    for (hour, sign) in [(was, -1), (is, 1)] {
        if let Some(hour) = hour {
            add(sales, order, hour, sign);
        }
    }
}

/// What these orders completed with.
pub fn sums<'a>(orders: impl IntoIterator<Item = &'a Order>) -> Sales {
    let mut sales = Sales::new();
    for order in orders {
        step(&mut sales, None, order);
    }
    sales
}

fn hour_of(stage: &Stage) -> Option<Timestamp> {
    match stage {
        // A time so far from ours that it has no hour is its own.
        Stage::Completed { at } => Some(at.duration_trunc(TimeDelta::hours(1)).unwrap_or(*at)),
        Stage::Created | Stage::Confirmed { .. } | Stage::Cancelled { .. } | Stage::Settled { .. } => None,
    }
}

/// A difference of nothing stays, too: there is a row of each key that was ever touched, however the steps were batched.
fn add(sales: &mut Sales, order: &Order, hour: Timestamp, sign: i8) {
    let mut skus: BTreeMap<Option<&Sku>, Sold> = BTreeMap::new();
    for line in &order.lines {
        for sku in [Some(&line.sku), None] {
            let sold = skus.entry(sku).or_default();
            sold.orders = 1;
            sold.quantity += line.quantity;
            sold.amount_minor += i128::from(line.unit_price_minor) * i128::from(line.quantity);
        }
    }
    for (sku, sold) in skus {
        for hour in [None, Some(hour)] {
            let key = SaleKey { sku: sku.cloned(), hour, currency: order.amount.currency };
            let sum = sales.entry(key).or_default();
            sum.orders += i64::from(sign) * sold.orders;
            sum.quantity += i64::from(sign) * sold.quantity;
            sum.amount_minor += i128::from(sign) * sold.amount_minor;
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::contract::{
        money::Money,
        order::{CancelReason, CancelStage, CancelledBy, Line},
    };

    use super::*;
    use crate::view::order::Cancellation;

    fn order(stage: Stage) -> Order {
        let line = |sku: &str, quantity, unit_price_minor| Line {
            sku: sku.parse().unwrap(),
            quantity,
            unit_price_minor,
        };
        Order {
            user_id: "user".parse().unwrap(),
            lines: vec![line("A", 2, 500), line("B", 1, 70), line("A", 1, 400)],
            amount: Money::new(1_470, Currency::EUR),
            created_at: Timestamp::UNIX_EPOCH,
            deadline_at: None,
            stage,
        }
    }

    fn completed(minutes: i64) -> Stage {
        Stage::Completed { at: Timestamp::UNIX_EPOCH + TimeDelta::minutes(minutes) }
    }

    fn cancelled() -> Stage {
        let cancellation = Cancellation {
            reason: CancelReason::Operator,
            by: CancelledBy::Operator,
            note: None,
            from: CancelStage::Confirmed,
        };
        Stage::Settled { at: Timestamp::UNIX_EPOCH, cancellation }
    }

    fn key(sku: Option<&str>, hour: Option<i64>) -> SaleKey {
        SaleKey {
            sku: sku.map(|sku| sku.parse().unwrap()),
            hour: hour.map(|hour| Timestamp::UNIX_EPOCH + TimeDelta::hours(hour)),
            currency: Currency::EUR,
        }
    }

    #[test]
    fn an_order_that_completes_is_counted_once_for_each_of_its_skus_and_once_for_all() {
        let mut sales = Sales::new();
        step(&mut sales, Some(&Stage::Created), &order(completed(119)));
        let sold = |orders, quantity, amount_minor| Sold { orders, quantity, amount_minor };
        let (a, b, all) = (sold(1, 3, 1_400), sold(1, 1, 70), sold(1, 4, 1_470));
        let expected: Sales = [(Some("A"), a), (Some("B"), b), (None, all)]
            .into_iter()
            .flat_map(|(sku, sold)| [(key(sku, None), sold), (key(sku, Some(1)), sold)])
            .collect();
        assert_eq!(sales, expected);
        assert_eq!(sums([&order(completed(119)), &order(cancelled())]), expected);
    }

    #[test]
    fn the_same_state_again_changes_nothing_and_a_reversal_takes_away_what_was_added() {
        let mut sales = Sales::new();
        step(&mut sales, Some(&completed(59)), &order(completed(59)));
        step(&mut sales, Some(&Stage::Created), &order(cancelled()));
        assert_eq!(sales, Sales::new());
        step(&mut sales, None, &order(completed(59)));
        step(&mut sales, Some(&completed(59)), &order(cancelled()));
        assert_eq!(sales.len(), 6);
        assert!(sales.values().all(|sold| *sold == Sold::default()), "{sales:?}");
        step(&mut sales, Some(&completed(59)), &order(completed(60)));
        assert_eq!(sales[&key(None, Some(0))].orders, -1);
        assert_eq!(sales[&key(None, Some(1))].orders, 1);
        assert_eq!(sales[&key(None, None)].orders, 0);
    }
}
